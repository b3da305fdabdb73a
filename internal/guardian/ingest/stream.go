package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// longestLength is how many digits a message's length may have.
const longestLength = 9

// errFraming means that a sender's stream cannot be divided into messages.
var errFraming = errors.New("the stream is no syslog")

// accept takes senders over TCP.
func (s *syslog) accept(ctx context.Context, l net.Listener, all *sync.WaitGroup) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return fmt.Errorf("receive syslog: %w", err)
		}
		from := senderOf(c)
		if !s.allows(from) || !s.enter(from) {
			s.dropped.Add(1)
			_ = c.Close()
			continue
		}
		all.Go(func() {
			defer s.leave(from)
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			defer c.Close()
			if err := s.messages(ctx, from, bufio.NewReaderSize(c, maxMessage)); errors.Is(err, errFraming) {
				s.dropped.Add(1)
				s.o.Logger.Debug("a sender of syslog is cut off", "from", from, "error", err)
			}
		})
	}
}

func senderOf(c net.Conn) netip.Addr {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap().WithZone("")
}

// enter counts a sender, unless there are too many.
func (s *syslog) enter(a netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= maxSenders || s.senders[a] >= maxConnsOfOne {
		return false
	}
	s.total++
	s.senders[a]++
	return true
}

func (s *syslog) leave(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.senders[a]--; s.senders[a] == 0 {
		delete(s.senders, a)
	}
}

// messages takes a stream apart as RFC 6587 has it: a message is preceded by its length, or else ends
// with a line break. One that is broken off by the end of the stream is left out.
func (s *syslog) messages(ctx context.Context, from netip.Addr, r *bufio.Reader) error {
	for {
		first, err := r.Peek(1)
		if err != nil {
			return err
		}
		var data []byte
		if first[0] >= '1' && first[0] <= '9' {
			data, err = s.counted(r)
		} else {
			data, err = s.delimited(r)
		}
		if err != nil {
			return err
		}
		if len(bytes.TrimRight(data, "\r\n\x00")) == 0 {
			s.free(data)
			continue
		}
		if err := s.room.Acquire(ctx, int64(len(data))); err != nil {
			return err
		}
		select {
		case s.waiting <- received{from, data}:
		case <-ctx.Done():
			s.release(received{from, data})
			return ctx.Err()
		}
	}
}

// counted reads "LENGTH MESSAGE"; none when it is too long.
func (s *syslog) counted(r *bufio.Reader) ([]byte, error) {
	length := 0
	for range longestLength {
		c, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if c == ' ' {
			return s.exactly(r, length)
		}
		if c < '0' || c > '9' {
			return nil, fmt.Errorf("a length: %w", errFraming)
		}
		length = 10*length + int(c-'0')
	}
	return nil, fmt.Errorf("a length: %w", errFraming)
}

func (s *syslog) exactly(r *bufio.Reader, length int) ([]byte, error) {
	if length > maxMessage {
		s.cut.Add(1)
		_, err := io.CopyN(io.Discard, r, int64(length))
		return nil, err
	}
	b := s.buffer()
	if cap(b) < length {
		b = make([]byte, 0, length)
	}
	b = b[:length]
	_, err := io.ReadFull(r, b)
	return b, err
}

// delimited reads up to a line break; none when it is too long.
func (s *syslog) delimited(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		if err != nil {
			return nil, err
		}
		return append(s.buffer(), line...), nil
	}
	s.cut.Add(1)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	return nil, err
}
