package abuse

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// hands send signals.
type hands interface {
	// signal sends s to the process that is meant, and to no other; errGone when it has ended.
	signal(id identity, s unix.Signal) error
	// spared are the processes that are never touched: the first one, the agent itself, and what it
	// was started by.
	spared() (map[int]bool, error)
}

var errGone = errors.New("the process has ended")

// pidfds are the hands of a running agent. They look at /proc itself, whatever root is watched: what
// counts is which process has the number for this kernel and this agent.
type pidfds struct{}

var _ hands = pidfds{}

// signal implements hands. The pidfd is opened first and the process looked at then, so that one that
// was given the number in between is not taken for it.
func (pidfds) signal(id identity, s unix.Signal) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL): // EINVAL: the number is a thread's by now
		return errGone
	case err != nil:
		return fmt.Errorf("open the process %d: %w", id.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	p, err := readProcess(id.PID)
	if err != nil || p.Start != id.Start {
		return errGone
	}
	err = unix.PidfdSendSignal(fd, s, nil, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return errGone
	case errors.Is(err, unix.EPERM):
		return shivx.Hint(fmt.Errorf("send %s to the process %d: %w", unix.SignalName(s), id.PID, err), "run the agent as root, or give it CAP_KILL")
	case err != nil:
		return fmt.Errorf("send %s to the process %d: %w", unix.SignalName(s), id.PID, err)
	}
	return nil
}

// spared implements hands.
func (pidfds) spared() (map[int]bool, error) {
	spared := map[int]bool{0: true, 1: true} // 0: a process of another namespace
	for pid := os.Getpid(); !spared[pid]; {
		spared[pid] = true
		p, err := readProcess(pid)
		if err != nil {
			return nil, fmt.Errorf("find out what started the agent: %w", err)
		}
		pid = p.parent
	}
	return spared, nil
}

// readProcess reads /proc/PID/stat of this kernel.
func readProcess(pid int) (*process, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	p := &process{identity: identity{PID: pid}}
	return p, p.parseStat(line, 1)
}
