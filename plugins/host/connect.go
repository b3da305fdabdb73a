package host

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/plugins/proto"
	"github.com/shivx/shivx/plugins/sdk"
)

// maxAnswer is the greatest message taken from a plugin.
const maxAnswer = 1 << 20

// start starts the process, does go-plugin's handshake and connects.
//
// The connection is made here and not by go-plugin's own client: that one also opens streams for
// a broker ShivX has no use for, can block in Kill on a plugin that does not answer, and leaves
// goroutines behind when a plugin dies between its handshake and the first call.
func (p *process) start(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = p.Kill(ctx) })()
	config := &goplugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake(),
		Plugins:          goplugin.PluginSet{sdk.DispenseName: nil},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     startTimeout + grace,
		Logger:           hclog.NewNullLogger(),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			p.socketDir = dir
			p.cmd = exec.Command(p.owner.spec.Path, p.owner.spec.Args...)
			p.cmd.Env = append(command.Environ(nil), cmd.Env...)
			p.cmd.Dir = "/"
			return p, nil
		},
	}
	addr, err := goplugin.NewClient(config).Start()
	if err != nil {
		return p.notStarted(ctx, err)
	}
	conn, err := grpc.NewClient("passthrough:///plugin",
		grpc.WithTransportCredentials(credentials.NewTLS(config.TLSConfig)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, addr.Network(), addr.String())
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return p.owner.fail(err, "cannot connect: "+err.Error(), "")
	}
	p.mu.Lock()
	p.conn = conn
	p.mu.Unlock()
	p.rpc = proto.NewRecoveryClient(conn)
	go p.readStdio(conn) //nolint:contextcheck // it reads for as long as the plugin lives
	return nil
}

// notStarted explains why the handshake failed.
func (p *process) notStarted(ctx context.Context, err error) error {
	fail := p.owner.fail
	p.mu.Lock()
	begun, bad := p.begun, p.handshake
	p.mu.Unlock()
	if !begun {
		_ = os.RemoveAll(p.socketDir)
		return fail(err, err.Error(), "is it an executable for this machine, and is its interpreter installed?")
	}
	if bad != nil {
		return fail(bad, bad.message, bad.hint)
	}
	if ctx.Err() != nil {
		return fail(ctx.Err(), "it did not get ready in time", "start it by hand to see whether it runs; "+p.words.String())
	}
	p.end(0)
	p.mu.Lock()
	state := p.state
	p.mu.Unlock()
	if state == "signal: killed" {
		return fail(err, "its handshake is of no use: "+line(err.Error(), maxLine), "see docs/PLUGINS.md, wire contract")
	}
	message := fmt.Sprintf("it ended before it was ready (%s)", state)
	if words := p.words.String(); words != "" {
		message += ": " + words
	}
	return fail(err, message, "start it by hand to see whether it runs")
}

// readStdio takes what a Go plugin that is not made with the sdk prints after its start: go-plugin
// turns its os.Stdout and os.Stderr into a stream, and prints block when nobody reads it. Plugins
// without that service answer "unimplemented".
func (p *process) readStdio(conn *grpc.ClientConn) {
	const method, dataField = "/plugin.GRPCStdio/StreamStdio", 2
	stream, err := conn.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return
	}
	if stream.SendMsg(&emptypb.Empty{}) != nil || stream.CloseSend() != nil {
		return
	}
	out := &lineWriter{emit: p.hear}
	defer out.flush()
	for {
		var chunk emptypb.Empty
		if err := stream.RecvMsg(&chunk); err != nil {
			return
		}
		fields := chunk.ProtoReflect().GetUnknown()
		for len(fields) > 0 {
			number, kind, n := protowire.ConsumeTag(fields)
			if n < 0 {
				return
			}
			size := protowire.ConsumeFieldValue(number, kind, fields[n:])
			if size < 0 {
				return
			}
			if number == dataField && kind == protowire.BytesType {
				data, _ := protowire.ConsumeBytes(fields[n:])
				_, _ = out.Write(data)
			}
			fields = fields[n+size:]
		}
	}
}

// broken explains why a call went wrong below the level of the contract.
func (p *process) broken(err error, during string) error {
	fail := func(message, hint string) *sdk.Fail {
		return p.owner.fail(err, message+" (during "+during+")", hint)
	}
	said := line(status.Convert(err).Message(), maxMessage)
	switch code := status.Code(err); code {
	case codes.DeadlineExceeded:
		err = context.DeadlineExceeded
		return fail("it did not answer in time", "start it by hand to see whether it runs")
	case codes.Canceled:
		err = context.Canceled
		return fail("it was cancelled", "")
	case codes.ResourceExhausted:
		return fail(fmt.Sprintf("it answered with more than %d bytes", maxAnswer), "a summary and some lines of changes are enough")
	case codes.Unimplemented:
		return fail("it does not serve shivx.plugin.v1.Recovery", "register the Recovery service of recovery.proto")
	default: // the transport's codes: it crashed, or answers nonsense
	}
	if how := p.died(grace / 4); how != "" {
		crash := fail("it crashed: "+how, "the next step starts it anew; the log has its output")
		crash.Retryable = true
		return crash
	}
	return fail("its answer is of no use: "+said, "this is a fault of the plugin; the log has its output")
}
