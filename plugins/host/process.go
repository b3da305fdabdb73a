package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/shivx/shivx/plugins/proto"
)

// process is one running plugin executable, the leader of a process group of its own. For
// go-plugin it is the runner that starts and stops it; go-plugin sees the handshake line of its
// output and nothing else.
type process struct {
	owner *external
	rpc   proto.RecoveryClient

	// first carries the handshake line to go-plugin.
	first       *io.PipeReader
	firstWriter *io.PipeWriter
	words       lastWords
	cmd         *exec.Cmd
	// socketDir is the folder go-plugin made for the plugin's socket; it goes with the process.
	socketDir string
	// gone is closed when the process and its group have ended and their output is read.
	gone chan struct{}

	mu sync.Mutex
	// pid is 0 before the start and after the end.
	pid int
	// asked is true when the process was told to end; it is not used from then on.
	asked     bool
	begun     bool
	state     string
	handshake *handshakeError
	conn      *grpc.ClientConn
}

var _ runner.Runner = (*process)(nil)

func newProcess(owner *external) *process {
	p := &process{owner: owner, gone: make(chan struct{})}
	p.first, p.firstWriter = io.Pipe()
	return p
}

// Start starts the process and returns once it runs. The thread that starts it stays with it to
// its end, because the kernel sends the death signal when that thread ends, not the process.
func (p *process) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked {
		return errors.New("stopped before its start")
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("pipe: %w", err), outR.Close(), outW.Close())
	}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Stdin = outW, errW, nil
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go p.live(started, outR, errR)
	err = <-started
	_, _ = outW.Close(), errW.Close()
	if err != nil {
		_, _ = outR.Close(), errR.Close()
		return fmt.Errorf("start: %w", err)
	}
	p.pid, p.begun = p.cmd.Process.Pid, true
	return nil
}

// live holds the thread from the start of the process to its end, then ends what is left of
// its group before the group's number is free for others.
func (p *process) live(started chan<- error, outR, errR *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.readStdout(outR) })
	reading.Go(func() { p.readStderr(errR) })
	pid := p.cmd.Process.Pid
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	p.pid = 0
	waitErr := p.cmd.Wait()
	p.state = "exit status 0"
	if waitErr != nil {
		p.state = waitErr.Error()
	}
	p.mu.Unlock()
	// A child that left the group may hold the pipes open for ever.
	limit := time.Now().Add(200 * time.Millisecond)
	_, _ = outR.SetReadDeadline(limit), errR.SetReadDeadline(limit)
	reading.Wait()
	_ = os.RemoveAll(p.socketDir)
	close(p.gone)
}

// readStdout gives the first line to go-plugin, if it is a handshake, and logs the rest.
func (p *process) readStdout(r *os.File) {
	defer func() { _ = r.Close() }()
	in := bufio.NewReaderSize(r, maxHandshake)
	text, err := in.ReadSlice('\n')
	if len(text) > 0 {
		if bad := checkHandshake(string(text)); bad != nil || err != nil {
			p.mu.Lock()
			p.handshake = bad
			p.mu.Unlock()
		} else {
			_, _ = p.firstWriter.Write(text)
		}
	}
	_ = p.firstWriter.Close()
	out := &lineWriter{emit: p.owner.out.line}
	_, _ = io.Copy(out, in)
	out.flush()
}

func (p *process) readStderr(r *os.File) {
	defer func() { _ = r.Close() }()
	out := &lineWriter{emit: p.hear}
	_, _ = io.Copy(out, r)
	out.flush()
}

func (p *process) hear(text string, size int) {
	p.words.hear(text)
	p.owner.out.line(text, size)
}

// alive says whether the process runs and was not asked to end.
func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid != 0 && !p.asked
}

func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = true
	if p.pid != 0 {
		_ = syscall.Kill(-p.pid, sig)
	}
}

// end asks the process to end, kills its group when it has not after the time given, and
// returns when it is gone. It says whether it had to kill.
func (p *process) end(after time.Duration) (killed bool) {
	if after > 0 {
		p.signal(syscall.SIGTERM)
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-p.gone:
		case <-timer.C:
			killed = true
		}
	}
	p.signal(syscall.SIGKILL)
	p.mu.Lock()
	begun, conn := p.begun, p.conn
	p.mu.Unlock()
	if begun {
		<-p.gone
	}
	_ = p.firstWriter.Close()
	if conn != nil {
		_ = conn.Close()
	}
	return killed
}

// died says how the process ended when it did so unasked, and "" otherwise.
func (p *process) died(wait time.Duration) string {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.gone:
	case <-timer.C:
		return ""
	}
	p.mu.Lock()
	state, asked := p.state, p.asked
	p.mu.Unlock()
	if asked {
		return ""
	}
	if words := p.words.String(); words != "" {
		return state + ": " + words
	}
	return state
}

// Wait waits until the process is gone.
func (p *process) Wait(context.Context) error {
	<-p.gone
	return nil
}

// Kill kills the process group.
func (p *process) Kill(context.Context) error {
	p.signal(syscall.SIGKILL)
	return nil
}

// Stdout is the handshake line.
func (p *process) Stdout() io.ReadCloser { return p.first }

// Stderr is empty; the process' own is read by readStderr.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is the path of the executable.
func (p *process) Name() string { return p.owner.spec.Path }

// ID is the process id.
func (p *process) ID() string { return strconv.Itoa(p.cmd.Process.Pid) }

// Diagnose adds nothing; see fail.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost changes nothing: the plugin runs on this machine.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin changes nothing.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
