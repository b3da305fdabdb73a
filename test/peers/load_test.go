package peers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// load sends a request at fixed times, whatever became of those before it, and returns how long
// after its time each was answered: a server that stalls is charged with every request that
// would have come meanwhile.
func load(t *testing.T, address, request string, rate int, d time.Duration) (answered []time.Duration, took time.Duration) {
	t.Helper()
	g := &generator{request: []byte(request), every: time.Second / time.Duration(rate), conns: map[int32]*loadConn{}}
	g.answered = make([]time.Duration, int(d.Seconds()*float64(rate)))
	defer g.close()
	for range flagsConns {
		if err := g.connect(address); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	return g.answered, time.Since(g.start)
}

// generator sends and receives on one thread, so that it takes as little of the machine as it can
// from the server: Go's own scheduler would wake a goroutine for each answer, and its timers are
// up to a millisecond late.
type generator struct {
	request  []byte
	every    time.Duration
	start    time.Time
	answered []time.Duration

	poll, timer int
	order       []*loadConn
	conns       map[int32]*loadConn
	sent, got   int
}

// loadConn is one connection. Its answers come in the order of its requests, so the n-th is that
// of request first + n × the number of connections.
type loadConn struct {
	fd, next int
	buf      []byte
}

func (g *generator) connect(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c := &loadConn{fd: fd, next: len(g.order), buf: make([]byte, 0, 16<<10)}
	g.order, g.conns[int32(fd)] = append(g.order, c), c
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}); err != nil {
		return err
	}
	return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), unix.SetNonblock(fd, true))
}

func (g *generator) close() {
	for _, c := range g.order {
		_ = unix.Close(c.fd)
	}
	_ = unix.Close(g.timer)
	_ = unix.Close(g.poll)
}

// run sends every request and waits for every answer.
func (g *generator) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.arm(); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, flagsConns+1)
	for g.got < len(g.answered) {
		n, err := unix.EpollWait(g.poll, events, 10_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("%d of %d answers after 10 s: %w", g.got, len(g.answered), err)
		}
		for _, e := range events[:n] {
			if int(e.Fd) == g.timer {
				err = g.send()
			} else {
				err = g.receive(g.conns[e.Fd])
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// arm makes a timer that ticks when a request is due, and waits for it and for answers.
func (g *generator) arm() (err error) {
	if g.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if g.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return err
	}
	for _, fd := range append([]int{g.timer}, g.fds()...) {
		if err := unix.EpollCtl(g.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	tick := unix.NsecToTimespec(int64(g.every))
	g.start = time.Now().Add(g.every)
	return unix.TimerfdSettime(g.timer, 0, &unix.ItimerSpec{Interval: tick, Value: tick}, nil)
}

func (g *generator) fds() (out []int) {
	for _, c := range g.order {
		out = append(out, c.fd)
	}
	return out
}

// send sends what is due.
func (g *generator) send() error {
	var ticks [8]byte
	if _, err := unix.Read(g.timer, ticks[:]); err != nil {
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		return err
	}
	for range binary.NativeEndian.Uint64(ticks[:]) {
		if g.sent == len(g.answered) {
			return nil
		}
		if n, err := unix.Write(g.order[g.sent%len(g.order)].fd, g.request); err != nil || n < len(g.request) {
			return fmt.Errorf("sent %d bytes: %w", n, err)
		}
		g.sent++
	}
	return nil
}

// receive takes the answers that have come whole.
func (g *generator) receive(c *loadConn) error {
	n, err := unix.Read(c.fd, c.buf[len(c.buf):cap(c.buf)])
	if err != nil || n == 0 {
		return fmt.Errorf("the connection ended: %w", err)
	}
	now := time.Now()
	c.buf = c.buf[:len(c.buf)+n]
	rest := c.buf
	for {
		size, err := answerSize(rest)
		if err != nil {
			return err
		}
		if size == 0 || size > len(rest) {
			break
		}
		g.answered[c.next] = now.Sub(g.start.Add(time.Duration(c.next) * g.every))
		c.next += len(g.order)
		g.got++
		rest = rest[size:]
	}
	c.buf = c.buf[:copy(c.buf, rest)]
	return nil
}

var (
	okStatus   = []byte("HTTP/1.1 200 ")
	lengthName = []byte("\r\nContent-Length: ")
	headEnd    = []byte("\r\n\r\n")
)

// answerSize returns how many bytes the first answer has; 0 when its head has not come whole.
func answerSize(b []byte) (int, error) {
	head := bytes.Index(b, headEnd)
	if head < 0 {
		return 0, nil
	}
	if !bytes.HasPrefix(b, okStatus) {
		return 0, fmt.Errorf("answered %q", b)
	}
	_, text, ok := bytes.Cut(b[:head], lengthName)
	if !ok {
		return 0, fmt.Errorf("an answer without a length: %q", b)
	}
	text, _, _ = bytes.Cut(text, headEnd[:2])
	length, err := strconv.Atoi(string(text))
	return head + len(headEnd) + length, err
}
