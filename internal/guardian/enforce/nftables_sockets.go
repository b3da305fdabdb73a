package enforce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// netlinkTime is how long one transaction or question may take.
const netlinkTime = 30 * time.Second

// netlinkBuffer has room for a transaction of 1 million sources, which is a single message to the
// kernel, and for its answers; the kernel takes memory for what is sent alone.
const netlinkBuffer = 256 << 20

// sockets are kept open from one change to the next: closing one waits for the kernel to have freed
// what the last transaction removed, which takes some 10 ms.
type sockets struct {
	netns int
	// changes buffers up to Flush, which is one transaction, over below.
	changes *nftables.Conn
	below   *netlink.Conn
	// questions is for what changes nothing.
	questions *netlink.Conn
}

// transaction returns the connection for changes; it must be settled.
func (s *sockets) transaction(ctx context.Context) (*nftables.Conn, error) {
	if s.changes == nil {
		conn, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(s.netns), nftables.WithSockOptions(func(c *netlink.Conn) error {
			s.below = c
			return buffers(c)
		}))
		if err != nil {
			return nil, fmt.Errorf("open netlink: %w", err)
		}
		s.changes = conn
	}
	return s.changes, s.below.SetDeadline(deadline(ctx))
}

// settle sends a transaction. After an error the connection is not used again: answers may be left in
// it, or changes that were not sent.
func (s *sockets) settle(err error) error {
	if err == nil {
		err = s.changes.Flush()
	}
	if err != nil && s.changes != nil {
		_ = s.changes.CloseLasting()
		s.changes, s.below = nil, nil
	}
	return err
}

// ask returns the socket for questions.
func (s *sockets) ask(ctx context.Context) (*netlink.Conn, error) {
	if s.questions == nil {
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: s.netns})
		if err != nil {
			return nil, fmt.Errorf("open netlink: %w", err)
		}
		if err := buffers(conn); err != nil {
			return nil, errors.Join(fmt.Errorf("open netlink: %w", err), conn.Close())
		}
		s.questions = conn
	}
	return s.questions, s.questions.SetDeadline(deadline(ctx))
}

// answered closes the socket for questions after an error that is not the kernel's answer.
func (s *sockets) answered(err error) error {
	if err != nil && !errors.Is(err, unix.ENOENT) && s.questions != nil {
		_ = s.questions.Close()
		s.questions = nil
	}
	return err
}

func (s *sockets) close() error {
	var err error
	if s.changes != nil {
		err = s.changes.CloseLasting()
	}
	if s.questions != nil {
		err = errors.Join(err, s.questions.Close())
	}
	s.changes, s.below, s.questions = nil, nil, nil
	return err
}

// deadline of one step: that of ctx, and at most netlinkTime.
func deadline(ctx context.Context) time.Time {
	end := time.Now().Add(netlinkTime)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		return d
	}
	return end
}

func buffers(c *netlink.Conn) error {
	return errors.Join(c.SetWriteBuffer(netlinkBuffer), c.SetReadBuffer(netlinkBuffer))
}
