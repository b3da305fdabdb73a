package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// maxGreeting is how much of an answer is searched for the expected text.
const maxGreeting = 64 << 10

type tcpProbe struct{ c config.TCPCheck }

func newTCPProbe(c config.TCPCheck) (Probe, error) {
	if err := checkAddress(c.Address); err != nil {
		return nil, err
	}
	return &tcpProbe{c}, nil
}

func (p *tcpProbe) Check(ctx context.Context) error {
	conn, err := dial(ctx, p.c.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if p.c.Send != "" {
		if _, err := io.WriteString(conn, p.c.Send); err != nil {
			return fmt.Errorf("send to %s: %w", p.c.Address, plain(ctx, err))
		}
	}
	if p.c.Expect == "" {
		return nil
	}
	return p.expect(ctx, conn)
}

func (p *tcpProbe) expect(ctx context.Context, conn net.Conn) error {
	want, got := []byte(p.c.Expect), []byte(nil)
	buf := make([]byte, 4096)
	for len(got) < maxGreeting {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if bytes.Contains(got, want) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s does not answer %q: %w", p.c.Address, shorten(p.c.Expect, 80), plain(ctx, err))
		}
	}
	return fmt.Errorf("%s answered %q, not %q", p.c.Address, shorten(string(got), 80), shorten(p.c.Expect, 80))
}

// checkAddress accepts HOST:PORT and unix:PATH.
func checkAddress(address string) error {
	if path, ok := strings.CutPrefix(address, "unix:"); ok && path != "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return shivx.Hint(fmt.Errorf("%q is not an address", address), "write HOST:PORT or unix:PATH")
	}
	return nil
}

// dial connects to HOST:PORT or unix:PATH; the connection ends with ctx.
func dial(ctx context.Context, address string) (net.Conn, error) {
	network, where := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, where = "unix", path
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, where)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, plain(ctx, err))
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &ctxConn{conn, stop}, nil
}

// ctxConn is a connection whose tie to a context ends with Close.
type ctxConn struct {
	net.Conn
	stop func() bool
}

func (c *ctxConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// plain returns the innermost cause of a network error: addresses and operations are named by the caller.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return context.DeadlineExceeded
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return err
}
