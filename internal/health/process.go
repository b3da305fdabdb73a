package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// processProbe passes while the process lives; a zombie is dead.
//
// By pid file, the file must exist and name a live process. A number that another process took
// over is found when the file has not changed since the process was seen first; what stood in
// the file before the agent started cannot be judged.
//
// By name, one live process of that name is enough: a daemon that leaves workers behind when
// its main process is killed is better watched by its pid file.
type processProbe struct {
	c    config.ProcessCheck
	root string

	mu   sync.Mutex
	last instance
	file os.FileInfo // the pid file as it was when last was seen first
}

func newProcessProbe(c config.ProcessCheck, root string) (Probe, error) {
	if (c.PIDFile == "") == (c.Name == "") {
		return nil, shivx.Hint(errors.New("a process check needs exactly one of pid_file and name"),
			"write pid_file: PATH, or name: NAME as shown by ps -o comm")
	}
	return &processProbe{c: c, root: root}, nil
}

func (p *processProbe) Check(context.Context) error {
	_, err := p.locate()
	return err
}

// locate returns the live process.
func (p *processProbe) locate() (instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c.PIDFile != "" {
		return p.byPIDFile()
	}
	return p.byName()
}

// current returns the process that locate has found last.
func (p *processProbe) current() instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func (p *processProbe) byName() (instance, error) {
	if p.last.pid != 0 && alive(p.root, p.last) {
		return p.last, nil // one file read instead of all
	}
	found, err := findByName(p.root, p.c.Name)
	if err != nil {
		return instance{}, err
	}
	p.last = found
	return found, nil
}

func (p *processProbe) byPIDFile() (instance, error) {
	pid, info, err := readPIDFile(p.c.PIDFile)
	if err != nil {
		return instance{}, err
	}
	s, err := readStat(p.root, pid)
	if errors.Is(err, os.ErrNotExist) {
		return instance{}, fmt.Errorf("process %d of %s is gone", pid, p.c.PIDFile)
	}
	if err != nil {
		return instance{}, fmt.Errorf("process %d of %s: %w", pid, p.c.PIDFile, err)
	}
	if s.dead() {
		return instance{}, fmt.Errorf("%s of %s has ended and waits to be reaped", s.instance, p.c.PIDFile)
	}
	if p.last.pid == pid && !s.same(p.last) && unchanged(p.file, info) {
		return instance{}, fmt.Errorf("process %d of %s is gone; its number was taken over by %s", pid, p.c.PIDFile, s.comm)
	}
	if !s.same(p.last) {
		p.last, p.file = s.instance, info
	}
	return s.instance, nil
}

func unchanged(a, b os.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
