package host

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// maxHandshake is the greatest length of the line a plugin begins with, its certificate included.
const maxHandshake = 8 << 10

// handshakeError says what is wrong with the line a plugin began with.
type handshakeError struct{ message, hint string }

func (e *handshakeError) Error() string { return e.message }

// checkHandshake checks "1|1|unix|/path|grpc|certificate" before go-plugin acts on it, so that
// the error is plain and the agent connects to nothing but a socket of this machine.
func checkHandshake(text string) *handshakeError {
	parts := strings.Split(strings.TrimSpace(text), "|")
	if len(parts) < 5 {
		return &handshakeError{
			fmt.Sprintf("it wrote %q to standard output in place of the handshake", line(text, 80)),
			"a plugin must write nothing to standard output before the handshake; is this a ShivX plugin?",
		}
	}
	if core, err := strconv.Atoi(parts[0]); err != nil || core != 1 {
		return &handshakeError{fmt.Sprintf("it speaks go-plugin's core protocol %q, not 1", line(parts[0], 20)), "rebuild it with a go-plugin of version 1"}
	}
	if version, err := strconv.Atoi(parts[1]); err != nil || version != sdk.ProtocolVersion {
		return &handshakeError{
			fmt.Sprintf("it speaks version %q of the plugin protocol, this agent speaks %d", line(parts[1], 20), sdk.ProtocolVersion),
			"rebuild the plugin with the sdk of this agent's release",
		}
	}
	if parts[4] != "grpc" {
		return &handshakeError{fmt.Sprintf("it speaks %q, not grpc", line(parts[4], 20)), "serve it over gRPC"}
	}
	if !localAddress(parts[2], parts[3]) {
		return &handshakeError{
			fmt.Sprintf("it listens on %q, which is not on this machine", line(parts[2]+" "+parts[3], 80)),
			"listen on a Unix socket or on 127.0.0.1",
		}
	}
	if len(parts) < 6 || len(parts[5]) <= 50 {
		return &handshakeError{"it gave no certificate for TLS", "support AutoMTLS: PLUGIN_CLIENT_CERT holds the agent's certificate, answer with your own"}
	}
	return nil
}

func localAddress(network, address string) bool {
	switch network {
	case "unix":
		return filepath.IsAbs(address)
	case "tcp":
		at, err := netip.ParseAddrPort(address)
		return err == nil && at.Addr().IsLoopback()
	}
	return false
}
