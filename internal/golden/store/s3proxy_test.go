package store

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fault is what happens to one connection through a proxy.
type fault int

const (
	fine fault = iota
	// cut ends the connection after some bytes, stall holds it still, busy answers 503 instead of
	// the server.
	cut
	stall
	busy
	// deaf hands all to the server and nothing back: what was asked for happens, and nobody knows.
	deaf
)

// faultyProxy stands between a client and a server.
type faultyProxy struct {
	addr, server string
	listener     net.Listener
	// plan says what happens to the connection of that number, and after how many bytes in either
	// direction.
	plan  atomic.Pointer[func(n int) (fault, int64)]
	count atomic.Int64
	// up counts bytes on their way to the server.
	up    atomic.Int64
	mu    sync.Mutex
	conns []net.Conn
}

func newFaultyProxy(t testing.TB, server string) *faultyProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &faultyProxy{addr: l.Addr().String(), server: server, listener: l}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		serving.Wait()
	})
	return p
}

// faults sets what happens to the connections from now on, counted from 0; nil: nothing.
func (p *faultyProxy) faults(plan func(n int) (fault, int64)) {
	p.count.Store(0)
	p.up.Store(0)
	if plan == nil {
		p.plan.Store(nil)
		return
	}
	p.plan.Store(&plan)
}

func (p *faultyProxy) keep(c net.Conn) {
	p.mu.Lock()
	p.conns = append(p.conns, c)
	p.mu.Unlock()
}

func (p *faultyProxy) serve(client net.Conn) {
	defer client.Close()
	p.keep(client)
	what, after := fine, int64(0)
	n := int(p.count.Add(1)) - 1
	if plan := p.plan.Load(); plan != nil {
		what, after = (*plan)(n)
	}
	if what == busy {
		_, _ = client.Read(make([]byte, 4096))
		_, _ = io.WriteString(client, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.keep(server)
	left := &atomic.Int64{}
	left.Store(after)
	var both sync.WaitGroup
	both.Go(func() { p.pipe(server, client, what, left, true); end(client, server, what) })
	both.Go(func() { p.pipe(client, server, what, left, false); end(client, server, what) })
	both.Wait()
}

func end(a, b net.Conn, what fault) {
	if what == stall || what == deaf {
		return // the other side has to find out
	}
	_ = a.Close()
	_ = b.Close()
}

func (p *faultyProxy) pipe(to, from net.Conn, what fault, left *atomic.Int64, up bool) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && up {
			p.up.Add(int64(n))
		}
		switch {
		case n == 0:
		case what == deaf && !up:
			return
		case (what == cut || what == stall) && left.Add(-int64(n)) < 0:
			return
		default:
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func TestFaultyProxyIsFair(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	p := newFaultyProxy(t, echo.Addr().String())
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, err = io.WriteString(c, "hello")
		require.NoError(t, err)
		return c
	}
	answer := make([]byte, 5)
	_, err = io.ReadFull(dial(), answer)
	require.NoError(t, err)
	require.Equal(t, "hello", string(answer))
	p.faults(func(int) (fault, int64) { return cut, 3 })
	_, err = io.ReadFull(dial(), answer)
	require.Error(t, err)
}
