package resilience

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// markName is the name of the file that says, beside the audit, whether a hook may be on.
const markName = ".on"

// marks say beside the audit which hooks may be on: one byte for each, in a file that is there before
// it is needed, so that it can be written when the disk is full and no record can. It is owned by
// whoever has the turn.
type marks struct {
	dir    string
	on     map[string]bool
	writes writes
}

// newMarks reads the marks of the hooks and makes those that are not there.
func newMarks(dir string, hooks []config.Hook) (*marks, error) {
	m := &marks{dir: dir, on: map[string]bool{}, writes: writes{}}
	var errs []error
	for _, h := range hooks {
		b, err := os.ReadFile(m.file(h.Name))
		switch {
		case err == nil:
			m.on[h.Name] = strings.HasPrefix(string(b), "1")
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, writeMark(m.file(h.Name), false))
		default:
			errs = append(errs, err)
		}
	}
	return m, errors.Join(errs...)
}

func (m *marks) file(hook string) string { return filepath.Join(m.dir, hook, markName) }

// set makes a mark durable. It waits for the disk, but not for ever.
func (m *marks) set(hook string, on bool) error {
	if m.on[hook] == on {
		return nil
	}
	err := m.writes.bounded(fmt.Sprint(hook, " ", on), "mark the hook "+hook, func() error { return writeMark(m.file(hook), on) })
	if err == nil {
		m.on[hook] = on
	}
	return err
}

// writeMark overwrites the one byte in its place, for which no room is needed.
func writeMark(path string, on bool) error {
	mark := []byte("0")
	if on {
		mark = []byte("1")
	}
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err != nil {
		return fmt.Errorf("mark a hook: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("mark a hook: %w", err)
	}
	_, err = f.WriteAt(mark, 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("mark a hook: %w", err)
	}
	return nil
}

// recallMarked takes hooks for on, perhaps, whose mark says so and of which the audit knows nothing:
// the agent was killed before it could be written.
func (c *Core) recallMarked() {
	for _, cfg := range c.hooks.list {
		known := slices.ContainsFunc(c.state.Hooks, func(d switched) bool { return d.Name == cfg.Name })
		if !c.marks.on[cfg.Name] || known {
			continue
		}
		c.log.Warn("a load-shedding hook may be on, though the audit does not say so", "hook", cfg.Name)
		c.state.Hooks = append(c.state.Hooks, switched{
			Name: cfg.Name, Level: shivx.Level(cfg.Level), Phase: phaseStarted, Use: cfg.Plugin, Boot: c.o.Boot,
			Options: sumOf(optionsOf(cfg)), Touched: true, Timeout: shivx.Duration(cfg.Timeout), Since: c.now(),
		})
	}
}

// recallBoot takes hooks for cut off that were switched on before the machine was started: services
// that were stopped run again, and what was set for the time being is gone.
func (c *Core) recallBoot() {
	for i, d := range c.state.Hooks {
		if d.on() && d.Boot != "" && d.Boot != c.o.Boot {
			c.state.Hooks[i].Phase = phaseStarted
		}
	}
}

// bootID tells one start of the machine from another; "" when that is not known.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// mark says in the marks that the hook may be on. Load is shed all the same when that fails.
func (c *Core) mark(hook string) {
	if err := c.marks.set(hook, true); err != nil {
		c.log.Error("that a hook is on is not marked", "hook", hook, "error", err)
	}
}

// unmark takes the marks off hooks that are off for sure: the audit says so, on disk.
func (c *Core) unmark(on []switched) error {
	var errs []error
	for name, marked := range c.marks.on {
		if marked && !slices.ContainsFunc(on, func(d switched) bool { return d.Name == name }) {
			errs = append(errs, c.marks.set(name, false))
		}
	}
	return errors.Join(errs...)
}
