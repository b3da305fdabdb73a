package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

const (
	// maxMessage is the longest message that is taken; the longest datagram is as long.
	maxMessage = maxLine
	// maxWaiting messages of maxWaitingBytes together wait to be parsed. More over UDP are dropped and
	// counted; over TCP the sender waits.
	maxWaiting      = 4096
	maxWaitingBytes = 16 << 20
	// maxSenders over TCP at a time, and of one address.
	maxSenders    = 256
	maxConnsOfOne = 32
	// receiveBuffer of the kernel for UDP, in bytes: what arrives while a batch is handled.
	receiveBuffer = 4 << 20
)

// networkFormat has the lines of one format from the network.
type networkFormat struct {
	name   string
	out    *outlet
	parser logs.Parser
	lines  int
}

// received is a message and who sent it.
type received struct {
	from netip.Addr
	data []byte
}

// syslog receives lines over UDP and TCP.
type syslog struct {
	o       *Options
	allowed []netip.Prefix
	formats []*networkFormat
	waiting chan received
	// room is what is left of maxWaitingBytes.
	room *semaphore.Weighted
	// buffers that are free again.
	buffers sync.Pool
	dropped atomic.Uint64
	cut     atomic.Uint64

	mu      sync.Mutex
	senders map[netip.Addr]int
	total   int
}

func newSyslog(o *Options) (*syslog, error) {
	s := &syslog{o: o, waiting: make(chan received, maxWaiting), room: semaphore.NewWeighted(maxWaitingBytes), senders: map[netip.Addr]int{}}
	for _, text := range o.Syslog.From {
		p, err := parsePrefix(text)
		if err != nil {
			return nil, err
		}
		s.allowed = append(s.allowed, p)
	}
	for _, name := range o.Syslog.Formats {
		l := config.Log{Name: "syslog:" + name, Format: name}
		p, err := o.NewParser(l)
		if err != nil {
			return nil, err
		}
		f := &networkFormat{name: name, out: newOutlet(o, l, p), parser: p}
		f.out.status.s.Path = "udp and tcp " + o.Syslog.Listen
		s.formats = append(s.formats, f)
	}
	return s, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, shivx.Hint(fmt.Errorf("who may send: %q is no address or network", text), "write 192.0.2.1 or 192.0.2.0/24")
	}
	return p.Masked(), nil
}

func (s *syslog) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { s.handle(ctx) })
	wait := firstRetry
	for ctx.Err() == nil {
		err := s.serve(ctx)
		if ctx.Err() != nil {
			break
		}
		s.state(shivx.Hint(err, "is another program listening there? stop it or change listen"))
		if !sleep(ctx, wait) {
			break
		}
		wait = min(2*wait, lastRetry)
	}
	all.Wait()
}

func (s *syslog) state(err error) {
	for _, f := range s.formats {
		f.out.status.set(func(st *LogStatus) {
			st.Error = ""
			if err != nil {
				st.Error = failure(err)
			}
		})
	}
	if err != nil {
		s.o.Logger.Error("syslog is not received", "error", err)
	}
}

// serve listens until ctx ends or a listener fails.
func (s *syslog) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", s.o.Syslog.Listen)
	if err != nil {
		return fmt.Errorf("listen for syslog: %w", err)
	}
	pc, err := lc.ListenPacket(ctx, "udp", tcp.Addr().String())
	if err != nil {
		return errors.Join(fmt.Errorf("listen for syslog: %w", err), tcp.Close())
	}
	udp := pc.(*net.UDPConn) //nolint:forcetypeassert // that is what listening on udp gives
	if err := udp.SetReadBuffer(receiveBuffer); err != nil {
		s.o.Logger.Debug("the kernel's buffer for syslog stays small", "error", err)
	}
	s.state(nil)
	var all sync.WaitGroup
	failed := make(chan error, 2)
	all.Go(func() { failed <- s.datagrams(udp) })
	all.Go(func() { failed <- s.accept(ctx, tcp, &all) })
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = ctx.Err()
	}
	cancel()
	err = errors.Join(err, tcp.Close(), pc.Close())
	all.Wait()
	return err
}

// datagrams receives over UDP; one datagram is one message.
func (s *syslog) datagrams(c *net.UDPConn) error {
	buf := make([]byte, maxMessage+1)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return fmt.Errorf("receive syslog: %w", err)
		}
		addr := from.Addr().Unmap().WithZone("")
		if !s.allows(addr) || !s.room.TryAcquire(int64(n)) {
			s.dropped.Add(1)
			continue
		}
		m := received{addr, append(s.buffer(), buf[:n]...)}
		select {
		case s.waiting <- m:
		default:
			s.dropped.Add(1)
			s.release(m)
		}
	}
}

// allows says whether a sender is one of those that may send.
func (s *syslog) allows(a netip.Addr) bool {
	for _, p := range s.allowed {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func (s *syslog) buffer() []byte {
	if b, ok := s.buffers.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 512)
}

// release ends a message's time in the queue.
func (s *syslog) release(m received) {
	s.room.Release(int64(len(m.data)))
	s.free(m.data)
}

func (s *syslog) free(b []byte) {
	if cap(b) <= 8<<10 { // a few long messages must not make all buffers long
		s.buffers.Put(&b)
	}
}

// handle parses what was received and gives it to Handle, all together that is there.
func (s *syslog) handle(ctx context.Context) {
	tick := time.NewTicker(pollWatched)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case m := <-s.waiting:
			s.parse(m)
			for n := len(s.waiting); n > 0; n-- {
				if s.parse(<-s.waiting) {
					break
				}
			}
		}
		s.count()
		for _, f := range s.formats {
			if f.lines == 0 {
				continue
			}
			if !f.out.send(ctx, Position{}, f.lines) {
				return
			}
			f.lines = 0
		}
	}
}

// parse gives a message to the format of its program. It returns true when the batch is full.
func (s *syslog) parse(m received) bool {
	defer s.release(m)
	msg, ok := parseMessage(m.data)
	f := s.formatOf(&msg)
	if !ok || f == nil {
		s.dropped.Add(1)
		return false
	}
	line := oneLine(msg.text)
	if tagged(f.name) {
		line = msg.line(s.buffer(), m.from, line)
		defer s.free(line)
	}
	had := len(f.out.events)
	f.out.line(f.parser, line)
	s.cut.Add(f.out.cut)
	f.out.cut = 0
	f.out.settle() // a message is a record, with all the line breaks that were in it
	f.out.stamp(had, s.o.Now())
	f.lines++
	return f.out.full()
}

// formatOf is the format of a message's program, nil when it is not wanted.
func (s *syslog) formatOf(m *message) *networkFormat {
	for _, name := range formatsOf(m) {
		for _, f := range s.formats {
			if f.name == name {
				return f
			}
		}
	}
	return nil
}

// count puts what was dropped into the status. It is not known for whom it was, so all show it.
func (s *syslog) count() {
	dropped, cut := s.dropped.Load(), s.cut.Load()
	for _, f := range s.formats {
		f.out.status.set(func(st *LogStatus) { st.Dropped, st.Cut = dropped, cut })
	}
}
