package probe
import ("testing";"context";"time";"fmt";"os";"os/exec";"go.temporal.io/sdk/client";"go.temporal.io/sdk/worker";"go.temporal.io/sdk/workflow")
func X(ctx workflow.Context) error { return workflow.Sleep(ctx, 10*time.Millisecond) }
func TestP(t *testing.T){
 dir,_:=os.MkdirTemp("","p")
 fmt.Println(dir)
 start:=func()*exec.Cmd{ c:=exec.Command("/tmp/ov/shivx-local","-server-only","-dir",dir,"-port","17233","-ui-port","0"); c.Stderr=os.Stderr; c.Start(); return c}
 s:=start()
 c,err:=client.NewLazyClient(client.Options{HostPort:"127.0.0.1:17233"}); if err!=nil{t.Fatal(err)}
 for { if _,err:=c.CheckHealth(context.Background(),nil); err==nil {break}; time.Sleep(50*time.Millisecond)}
 w:=worker.New(c,"x",worker.Options{}); w.RegisterWorkflow(X); if err:=w.Start();err!=nil{t.Fatal(err)}
 go func(){ for i:=0;;i++{ ctx,cancel:=context.WithTimeout(context.Background(),10*time.Second); t0:=time.Now(); r,err:=c.ExecuteWorkflow(ctx,client.StartWorkflowOptions{TaskQueue:"x"},X); e:=time.Since(t0); if err==nil {err=r.Get(ctx,nil)}; cancel(); if time.Since(t0)>200*time.Millisecond||err!=nil||i==3 { fmt.Println(time.Now().Format("05.000"),"start",e,"all",time.Since(t0),err)}; time.Sleep(100*time.Millisecond)} }()
 time.Sleep(3*time.Second)
 fmt.Println(time.Now().Format("05.000"),"KILL")
 s.Process.Kill(); s.Wait(); s=start()
 time.Sleep(75*time.Second)
 s.Process.Kill()
}
