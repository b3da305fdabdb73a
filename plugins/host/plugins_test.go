package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/proto"
	"github.com/shivx/shivx/plugins/sdk"
)

// The test executable is also every plugin the tests start: "host.test plugin KIND".
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "plugin" {
		servePlugin(os.Args[2])
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "agent" {
		beAgent()
		return
	}
	os.Exit(m.Run())
}

// beAgent starts a plugin, prints its process id and waits to be killed.
func beAgent() {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	sum, err := host.Sum(path)
	if err != nil {
		panic(err)
	}
	set := host.New(nil, []host.Spec{{Name: "p", Path: path, Args: []string{"plugin", "obedient"}, SHA256: sum}}, nil)
	r, err := set.Get(context.Background(), "p")
	if err != nil {
		panic(err)
	}
	reply, err := r.Run(context.Background(), sdk.StepRecover, sdk.Request{Options: []byte(`{"do":"pid"}`)})
	if err != nil {
		panic(err)
	}
	fmt.Println(reply.Summary)
	select {}
}

func servePlugin(kind string) {
	switch kind {
	case "obedient":
		sdk.Serve(obedient{})
	case "exits":
		fmt.Fprintln(os.Stderr, "no licence found")
		os.Exit(3)
	case "mute":
		select {}
	case "banner":
		fmt.Println("Welcome to my plugin!")
		select {}
	case "noise":
		for {
			fmt.Print(strings.Repeat("x", 4096))
		}
	case "old":
		fmt.Println("1|7|unix|/tmp/none|grpc|" + strings.Repeat("A", 60))
		select {}
	case "netrpc":
		fmt.Println("1|1|unix|/tmp/none|netrpc|" + strings.Repeat("A", 60))
		select {}
	case "remote":
		fmt.Println("1|1|tcp|192.0.2.1:80|grpc|" + strings.Repeat("A", 60))
		select {}
	case "bare":
		fmt.Println("1|1|unix|/tmp/none|grpc|")
		select {}
	case "deaf":
		fmt.Println("1|1|unix|/nowhere/at/all|grpc|" + anyCertificate)
		select {}
	default:
		serveRaw(kind)
	}
}

// anyCertificate is the base64 form of some certificate; nobody holds its key.
const anyCertificate = "MIIBVjCB/qADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMTCWxvY2FsaG9zdDA"

// obedient does what its options say.
type obedient struct{}

type orders struct {
	Do   string       `json:"do"`
	File string       `json:"file"`
	For  sdk.Duration `json:"for"`
}

var (
	_ sdk.Isolator       = obedient{}
	_ sdk.Resumer        = obedient{}
	_ sdk.OptionsChecker = obedient{}
)

func (obedient) Describe() sdk.Description {
	return sdk.Description{Name: "obedient", Version: "1.0", RecoveryType: "custom", Summary: "does what it is told", Idempotent: true}
}

func (obedient) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	var o orders
	if err := req.Decode(&o); err != nil {
		return sdk.Result{}, err
	}
	switch o.Do {
	case "pid":
		return sdk.Result{Summary: fmt.Sprint(os.Getpid())}, nil
	case "folders":
		return sdk.Result{Changes: []string{req.CheckpointDir, req.HealthyDir}}, nil
	case "env":
		return sdk.Result{Changes: os.Environ()}, nil
	case "progress":
		req.Progress("half way\x1b[31m")
		req.Progress("nearly there")
	case "progress flood":
		for ctx.Err() == nil {
			req.Progress("%s", strings.Repeat("p", 10_000))
		}
	case "sleep":
		select {
		case <-ctx.Done():
			return sdk.Result{}, os.WriteFile(o.File, []byte("cancelled in order"), 0o600)
		case <-time.After(time.Duration(o.For)):
		}
	case "ignore":
		_ = os.WriteFile(o.File, fmt.Appendf(nil, "%d", os.Getpid()), 0o600)
		select {}
	case "exit":
		fmt.Fprintln(os.Stderr, "cannot go on")
		os.Exit(4)
	case "panic":
		panic("no such luck")
	case "panic elsewhere":
		go panic("far away")
		<-ctx.Done()
	case "big":
		return sdk.Result{Summary: strings.Repeat("b", 2<<20)}, nil
	case "fail":
		return sdk.Result{}, &sdk.Fail{Message: "disk is full", Hint: "free some space", Retryable: true}
	case "flood":
		for range 20_000 {
			fmt.Fprintln(os.Stderr, strings.Repeat("e", 900))
		}
		fmt.Println("printed to standard output")
	case "child":
		return child()
	}
	return sdk.Result{Summary: "did: " + o.Do + "\x1b[2J", Changes: []string{"one\nline", req.Component}}, nil
}

// child leaves two children behind that hold the plugin's output: one in its group, one that left it.
func child() (sdk.Result, error) {
	var pids []string
	for _, setsid := range []bool{false, true} {
		cmd := exec.Command("sleep", "300")
		cmd.Stdout, cmd.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
		if err := cmd.Start(); err != nil {
			return sdk.Result{}, err
		}
		pids = append(pids, fmt.Sprint(cmd.Process.Pid))
	}
	return sdk.Result{Summary: "started", Changes: pids}, nil
}

func (obedient) Isolate(context.Context, sdk.Request) (sdk.Result, error) {
	return sdk.Result{Summary: "isolated"}, nil
}

func (obedient) Reintegrate(context.Context, sdk.Request) (sdk.Result, error) {
	return sdk.Result{Summary: "reintegrated"}, nil
}

func (obedient) Mark(_ context.Context, step sdk.Step, _ sdk.Request) (string, error) {
	return "before " + string(step), nil
}

func (obedient) Done(_ context.Context, _ sdk.Step, req sdk.Request) (bool, error) {
	if req.Mark == "" {
		return false, fmt.Errorf("no mark: %w", sdk.ErrUnknown)
	}
	return req.Mark == "before recover", nil
}

func (obedient) CheckOptions(options json.RawMessage) error { return sdk.Decode(options, &orders{}) }

// raw breaks the contract below the level of the sdk.
type raw struct {
	goplugin.NetRPCUnsupportedPlugin
	proto.UnimplementedRecoveryServer
	kind string
}

func serveRaw(kind string) {
	if kind == "no utf8" {
		encoding.RegisterCodec(badCodec{})
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: sdk.Handshake(),
		Plugins:         goplugin.PluginSet{"recovery": &raw{kind: kind}},
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}

func (r *raw) GRPCServer(_ *goplugin.GRPCBroker, g *grpc.Server) error {
	if r.kind != "no service" {
		proto.RegisterRecoveryServer(g, r)
	}
	return nil
}

func (r *raw) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (r *raw) Describe(ctx context.Context, _ *proto.DescribeRequest) (*proto.Description, error) {
	if r.kind == "mute describe" {
		select {}
	}
	return &proto.Description{Name: r.kind, Steps: []string{"recover"}}, nil
}

func (r *raw) Run(_ *proto.RunRequest, stream grpc.ServerStreamingServer[proto.RunEvent]) error {
	result := &proto.RunEvent{Event: &proto.RunEvent_Result{Result: &proto.Result{Summary: "ok"}}}
	switch r.kind {
	case "two results":
		_ = stream.Send(result)
		_ = stream.Send(result)
	case "empty event":
		_ = stream.Send(&proto.RunEvent{})
	case "no utf8":
		_ = stream.Send(result)
	case "long mark":
		result.GetResult().Mark = strings.Repeat("m", 5000)
		_ = stream.Send(result)
	case "silent failure":
		_ = stream.Send(&proto.RunEvent{Event: &proto.RunEvent_Failure{Failure: &proto.Failure{}}})
	case "result and no end":
		_ = stream.Send(result)
		select {}
	}
	return nil // "no result"
}

// badCodec writes results whose summary is not UTF-8.
type badCodec struct{}

func (badCodec) Name() string { return "proto" }

func (badCodec) Marshal(v any) ([]byte, error) {
	if _, isEvent := v.(*proto.RunEvent); isEvent {
		summary := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte{0xff, 0xfe})
		return protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), summary), nil
	}
	return protobuf.Marshal(v.(protobuf.Message))
}

func (badCodec) Unmarshal(data []byte, v any) error {
	return protobuf.Unmarshal(data, v.(protobuf.Message))
}
