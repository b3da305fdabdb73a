package vitals

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/shirou/gopsutil/v3/disk"
	"golang.org/x/sys/unix"
)

// usageFunc asks a file system, seen at path, how full it is. It may hang.
type usageFunc func(ctx context.Context, path string, m mount) (*disk.UsageStat, error)

// probe is one question to a file system.
type probe struct {
	since  time.Duration
	answer chan usageAnswer
}

type usageAnswer struct {
	usage *disk.UsageStat
	err   error
}

// askAll asks every chosen file system at the same time and returns the answers in their order.
// One that hangs keeps its goroutine, and is not asked again before that has ended.
func (s *Sampler) askAll(ctx context.Context, now time.Duration) []usageAnswer {
	d := &s.disks
	maps.DeleteFunc(d.probes, func(_ string, p *probe) bool { return len(p.answer) > 0 }) // too late to count
	answers := make([]usageAnswer, len(d.chosen))
	asked := make([]*probe, len(d.chosen))
	for i, m := range d.chosen {
		if p := d.probes[m.point]; p != nil {
			answers[i].err = errSilent(fmt.Sprintf("the file system has not answered for %s", (now - p.since).Round(time.Second)))
			continue
		}
		p := &probe{since: now, answer: make(chan usageAnswer, 1)}
		d.probes[m.point], asked[i] = p, p
		go func() {
			u, err := s.o.usage(context.WithoutCancel(ctx), s.path(m.point), m)
			p.answer <- usageAnswer{u, err}
		}()
	}
	until, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	for i, p := range asked {
		if p == nil {
			continue
		}
		select {
		case answers[i] = <-p.answer:
			delete(d.probes, d.chosen[i].point)
		case <-until.Done():
			answers[i].err = s.noAnswer(until)
		}
	}
	return answers
}

// errSilent says that a file system does not answer.
type errSilent string

func (e errSilent) Error() string { return string(e) }

func (s *Sampler) noAnswer(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errSilent(fmt.Sprintf("the file system did not answer within %s", s.o.Timeout))
	}
	return fmt.Errorf("ask the file system: %w", ctx.Err())
}

// readUsage asks the kernel. What is seen at the path must be the device that is said to be
// mounted there: in a container that watches its host a mount may not have come through, and
// just now it may have been unmounted. Devices made up by the file system are not compared, for
// btrfs tells two different ones.
func readUsage(ctx context.Context, path string, m mount) (*disk.UsageStat, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if m.major != 0 && unix.Mkdev(m.major, m.minor) != st.Dev {
		return nil, fmt.Errorf("another file system is seen at %s", path)
	}
	u, err := disk.UsageWithContext(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("statfs %s: %w", path, err)
	}
	return u, nil
}
