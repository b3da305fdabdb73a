package resilience

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/durable"
)

// keptOptions is the name of the file with a hook's options. It begins with a dot, which the name
// of a plugin, whose folder is beside it, does not.
const keptOptions = ".options.json"

// kept are the options of the hooks that are on, each in a file below dir: they are needed to take
// the load back, also when the configuration has changed, and may hold secrets, so that they do not
// belong into the audit. It is owned by whoever has the turn.
type kept struct {
	dir string
	// sums are those of the files that are there; "" for one that an earlier agent left.
	sums   map[string]string
	writes writes
}

func newKept(dir string) *kept {
	k := &kept{dir: dir, sums: map[string]string{}, writes: writes{}}
	files, _ := filepath.Glob(filepath.Join(dir, "*", keptOptions)) // it fails only for a bad pattern
	for _, f := range files {
		k.sums[filepath.Base(filepath.Dir(f))] = ""
	}
	return k
}

func (k *kept) file(hook string) string { return filepath.Join(k.dir, hook, keptOptions) }

// keep makes the options durable. Like a record they wait for the disk, but not for ever.
func (k *kept) keep(hook string, options json.RawMessage) error {
	sum := sumOf(options)
	if k.sums[hook] == sum {
		return nil
	}
	err := k.writes.bounded(hook, "keep the options of hook "+hook, func() error { return writeKept(k.file(hook), options) })
	if err == nil {
		k.sums[hook] = sum
	}
	return err
}

func writeKept(path string, options json.RawMessage) error {
	dir := filepath.Dir(path)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = renameio.WriteFile(path, options, 0o600, renameio.WithStaticPermissions(0o600), renameio.WithTempDir(dir))
	}
	for _, d := range []string{dir, filepath.Dir(dir)} { // the folder may be new itself
		if err == nil {
			err = durable.SyncDir(d)
		}
	}
	if err != nil {
		return fmt.Errorf("keep the options of a hook: %w", err)
	}
	return nil
}

// find returns the options with which d was shed: the kept ones or, when those are no good, the
// configured ones, whichever are the same as in the record.
func (k *kept) find(d switched, configured config.Hook) (json.RawMessage, error) {
	data, err := os.ReadFile(k.file(d.Name))
	if err == nil && sumOf(data) == d.Options {
		return data, nil
	}
	if options := optionsOf(configured); configured.Plugin == d.Use && sumOf(options) == d.Options {
		return options, nil
	}
	if err == nil {
		err = errors.New("they are not those with which the load was shed")
	}
	return nil, shivx.Hint(fmt.Errorf("the options kept in %s cannot be used: %w", k.file(d.Name), err),
		"put the old options back into the configuration and restart the agent; change them when the hook is off")
}

// forget removes the file.
func (k *kept) forget(hook string) error {
	if _, busy := k.writes[hook]; busy {
		return nil // it would come back
	}
	if err := os.Remove(k.file(hook)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the kept options of hook %s: %w", hook, err)
	}
	delete(k.sums, hook)
	return nil
}

// tidyKept keeps the options of all hooks that are on as they are configured, where that failed
// before, and removes those of hooks that are off for sure: the audit says so, on disk.
func (c *Core) tidyKept() {
	c.mu.Lock()
	on, waiting := c.state.Hooks, c.waiting
	c.mu.Unlock()
	var errs []error
	for _, d := range on {
		if cfg, ok := c.hooks.find(d.Name); ok && d.doneAs(cfg) {
			errs = append(errs, c.kept.keep(d.Name, optionsOf(cfg)))
		}
	}
	for name := range c.kept.sums {
		if waiting == 0 && !slices.ContainsFunc(on, func(d switched) bool { return d.Name == name }) {
			errs = append(errs, c.kept.forget(name))
		}
	}
	if waiting == 0 {
		errs = append(errs, c.unmark(on))
	}
	c.noteKept(errors.Join(errs...))
}

// noteKept says in the status that options are not kept. Load is shed all the same.
func (c *Core) noteKept(err error) {
	const what = "options of hooks"
	if err == nil {
		c.setTrouble(what, "")
		return
	}
	if c.setTrouble(what, "the options of hooks could not be kept, do not change them in the configuration now: "+err.Error()) {
		c.log.Error("the options of hooks could not be kept; it is tried again", "error", err)
	}
}

// sumOf tells options apart without telling them.
func sumOf(options json.RawMessage) string {
	sum := sha256.Sum256(options)
	return hex.EncodeToString(sum[:])
}
