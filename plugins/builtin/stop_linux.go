package builtin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/plugins/sdk"
)

// clockSlack allows for the coarse clocks of process starts and file times.
const clockSlack = 2 * time.Second

// killTimeout is how long the kernel may take to end a killed process.
const killTimeout = 5 * time.Second

// running is what lives of a service.
type running struct {
	// main is the process the pid file or our own record names; nil when it is dead.
	main *proc
	// rest are all others: workers, and what an earlier start left behind.
	rest []proc
}

func (r running) all() []proc {
	if r.main == nil {
		return r.rest
	}
	return append([]proc{*r.main}, r.rest...)
}

// String lists the processes for people.
func (r running) String() string {
	var words []string
	for _, p := range r.all() {
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}

// find looks for the service by its pid file, by our record of the last start, by the mark in
// its environment, and by the group of the process so found.
func (s service) find() (running, error) {
	list, err := s.host.fs.all()
	if err != nil {
		return running{}, err
	}
	var r running
	groups := map[int]bool{}
	pid, since := readPIDFile(s.PIDFile)
	if p, ok := s.host.fs.read(pid); ok && s.isService(p, since) {
		r.main = &p
	} else if !ok && s.leftGroup(list, pid, since) {
		groups[pid] = true
	}
	if rec, ok := s.readRecord(); ok {
		p, alive := s.host.fs.read(rec.PID)
		switch {
		case alive && p.start == rec.Start && r.main == nil:
			r.main = &p
		case !alive && s.leftGroup(list, rec.PID, rec.written):
			groups[rec.PID] = true
		}
	}
	if r.main != nil && r.main.leads() {
		groups[r.main.pid] = true
	}
	family := s.host.fs.family()
	if r.main != nil && family[r.main.pid] {
		return running{}, sdk.Failf("correct pid_file", "%s names %s, under which this agent runs", s.PIDFile, *r.main)
	}
	for _, p := range list {
		if (r.main != nil && p.pid == r.main.pid) || family[p.pid] {
			continue
		}
		if groups[p.pgid] || groups[p.sid] || s.owns(p) {
			r.rest = append(r.rest, p)
		}
	}
	slices.SortFunc(r.rest, func(a, b proc) int { return a.pid - b.pid })
	return r, nil
}

// isService guards against a pid file whose number now belongs to another program.
func (s service) isService(p proc, since time.Time) bool {
	if s.owns(p) {
		return true
	}
	if len(s.Start) > 0 && s.host.fs.runs(p.pid, s.Start[0]) {
		return true
	}
	started, err := s.host.fs.startedAt(p)
	return err == nil && started.Before(since.Add(clockSlack))
}

// leftGroup says whether the group of a dead main process still has members that began in its
// time, such as the workers of a killed master.
func (s service) leftGroup(list []proc, pid int, since time.Time) bool {
	if pid <= 1 {
		return false
	}
	for _, p := range list {
		if (p.pgid == pid || p.sid == pid) && s.isService(p, since) {
			return true
		}
	}
	return false
}

// readPIDFile returns the number in the file's first word and when the file was written.
func readPIDFile(path string) (int, time.Time) {
	if path == "" {
		return 0, time.Time{}
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, time.Time{}
	}
	data, err := os.ReadFile(path)
	fields := strings.Fields(string(data))
	if err != nil || len(fields) == 0 {
		return 0, time.Time{}
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 1 {
		return 0, time.Time{}
	}
	return pid, info.ModTime()
}

// stop ends the service and everything it started, and returns when it is really gone, so
// that there are never two instances.
func (s service) stop(ctx context.Context) ([]string, error) {
	found, err := s.find()
	if err != nil || len(found.all()) == 0 {
		return nil, err
	}
	var changes []string
	deadline := time.Now().Add(s.stopTimeout())
	asked := false
	if len(s.Stop) > 0 && found.main != nil {
		_, err := command.Run(ctx, command.Spec{Argv: s.Stop, Dir: s.Dir, Env: s.Env, Timeout: s.stopTimeout()})
		if asked = err == nil; asked {
			changes = append(changes, "ran "+command.Line(s.Stop))
		} else {
			s.req.Progress("stop command failed, sending TERM instead: %v", err)
		}
	}
	if !asked {
		if found.main != nil {
			sendSignal(s.host.fs, []proc{*found.main}, syscall.SIGTERM)
		} else {
			sendSignal(s.host.fs, found.rest, syscall.SIGTERM)
		}
	}
	if found.main != nil && s.host.fs.awaitExit(ctx, *found.main, time.Until(deadline)) {
		changes = append(changes, "ended "+found.main.String())
		sendSignal(s.host.fs, found.rest, syscall.SIGTERM)
	}
	for _, p := range found.rest {
		s.host.fs.awaitExit(ctx, p, time.Until(deadline))
	}
	if ctx.Err() != nil {
		return changes, ctx.Err()
	}
	killed, err := s.killRest(ctx, found)
	return append(changes, killed...), err
}

// killRest kills what did not end in time, again and again while it forks.
func (s service) killRest(ctx context.Context, found running) ([]string, error) {
	var changes []string
	for range 10 {
		left := slices.DeleteFunc(found.all(), func(p proc) bool { return !s.host.fs.same(p) })
		more, err := s.find()
		if err != nil {
			return changes, err
		}
		for _, p := range more.all() {
			if !slices.ContainsFunc(left, func(q proc) bool { return q.pid == p.pid }) {
				left = append(left, p)
			}
		}
		if len(left) == 0 {
			return changes, nil
		}
		sendSignal(s.host.fs, left, syscall.SIGKILL)
		for _, p := range left {
			if !s.host.fs.awaitExit(ctx, p, killTimeout) {
				return changes, errors.Join(ctx.Err(), sdk.Failf("it waits inside the kernel, often for a disk or a network file system; look at /proc/"+strconv.Itoa(p.pid)+"/stack",
					"%s does not die", p))
			}
			changes = append(changes, "killed "+p.String())
		}
		found = running{}
	}
	return changes, errors.New("new processes of the service keep appearing; is a supervisor starting them?")
}

func sendSignal(fs procfs, list []proc, sig syscall.Signal) {
	for _, p := range list {
		// The handle is taken before the look, so that the signal cannot reach a successor.
		handle, err := os.FindProcess(p.pid)
		if err != nil {
			continue
		}
		if fs.same(p) {
			_ = handle.Signal(sig)
		}
		_ = handle.Release()
	}
}

// planStop says what stop would do.
func (s service) planStop() ([]string, error) {
	found, err := s.find()
	if err != nil || len(found.all()) == 0 {
		return nil, err
	}
	how := "TERM"
	if len(s.Stop) > 0 && found.main != nil {
		how = command.Line(s.Stop)
	}
	return []string{fmt.Sprintf("end %s by %s, what is left after %s by KILL", found, how, s.stopTimeout())}, nil
}
