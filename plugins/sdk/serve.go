package sdk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/shivx/shivx/plugins/proto"
)

// The handshake between ShivX and a plugin.
const (
	// ProtocolVersion is the version of the wire contract in plugins/proto.
	ProtocolVersion = 1
	// CookieKey is the environment variable that tells a plugin it was started by ShivX.
	CookieKey = "SHIVX_PLUGIN"
	// CookieValue is the value CookieKey has.
	CookieValue = "recovery-v1"
	// DispenseName is the name of the one service in go-plugin's plugin set.
	DispenseName = "recovery"
)

// Handshake returns the handshake in go-plugin's form.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion: ProtocolVersion, MagicCookieKey: CookieKey, MagicCookieValue: CookieValue,
	}
}

// Serve is the whole main function of a plugin. It returns when ShivX ends the plugin; on
// SIGTERM it cancels the steps under way, waits for them to return and exits.
func Serve(p Plugin) {
	if os.Getenv(CookieKey) != CookieValue {
		explain(os.Stderr, Describe(p))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := newServer(ctx, p)
	// go-plugin makes a stream of both outputs, whose last words are lost in a crash.
	stderr := os.Stderr
	s.first = sync.OnceFunc(func() { os.Stdout, os.Stderr = stderr, stderr })
	context.AfterFunc(ctx, func() {
		s.running.Wait()
		os.Exit(0)
	})
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: Handshake(),
		Plugins:         goplugin.PluginSet{DispenseName: &served{server: s}},
		GRPCServer:      goplugin.DefaultGRPCServer,
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
	})
}

// explain tells a person who started the plugin by hand what to do with it.
func explain(w io.Writer, d Description) {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	sum := "the SHA-256 of the file"
	if data, err := os.ReadFile(path); err == nil {
		digest := sha256.Sum256(data)
		sum = hex.EncodeToString(digest[:])
	}
	_, _ = fmt.Fprintf(w, `%s %s is a ShivX recovery plugin: %s
It is started by ShivX, not by hand. To use it, add this to shivx.yaml:

plugins:
  - name: %s
    path: %s
    sha256: %s
`, d.Name, d.Version, d.Summary, d.Name, path, sum)
}

// served registers the server with go-plugin.
type served struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server
}

var _ goplugin.GRPCPlugin = (*served)(nil)

func (s *served) GRPCServer(_ *goplugin.GRPCBroker, g *grpc.Server) error {
	proto.RegisterRecoveryServer(g, s.server)
	return nil
}

func (s *served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("a plugin has no client side")
}
