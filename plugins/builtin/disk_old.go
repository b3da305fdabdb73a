package builtin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/shivx/shivx/plugins/sdk"
)

// removeOld removes the old files of a rule, the oldest first.
func (c *cleaning) removeOld(ctx context.Context, o oldFiles) error {
	t := c.trees[o.Path]
	if t == nil {
		c.report.note("there is no folder %s", o.Path)
		return nil
	}
	list, err := t.find(ctx, o.Match, c.report.note)
	if err != nil {
		return err
	}
	now := time.Now()
	slices.SortFunc(list, func(a, b found) int {
		return cmp.Or(a.changed.Compare(b.changed), cmp.Compare(a.rel(), b.rel()))
	})
	list = list[:max(0, len(list)-o.Keep)]
	for i, f := range list {
		old := now.Sub(f.changed)
		if old < time.Duration(o.OlderThan) {
			break
		}
		if i%1000 == 999 {
			c.req.Progress("%d files looked at in %s, %s freed", i+1, o.Path, shownBytes(c.freed))
		}
		if enough, _, err := c.enough(); ctx.Err() != nil || err != nil || enough && c.UntilFree != nil {
			return errors.Join(ctx.Err(), err)
		}
		if err := c.removeOne(t, f, fmt.Sprintf("not changed for %s", old.Round(time.Second))); err != nil {
			return err
		}
	}
	return nil
}

// removeOne removes a file, or says in a plan that it would; one that would free nothing stays.
func (c *cleaning) removeOne(t *tree, f found, why string) error {
	name := path.Join(t.path, f.rel())
	held, err := c.open.holds(c.host.fs, f.identity)
	switch {
	case err != nil:
		return err
	case held:
		c.report.note("%s stays: a process has it open, so it would free nothing", name)
		return nil
	case f.names > 1:
		c.report.note("%s stays: it has %d names, so removing one would free nothing", name, f.names)
		return nil
	case f.bytes > c.left:
		c.report.note("%s (%s) stays: one run may free no more than %s", name, shownBytes(f.bytes), shownBytes(c.most()))
		return nil
	case c.open.hidden:
		c.report.note("the agent may not see which files processes of other users have open")
	}
	did := "removed"
	if c.req.Plan {
		did = "remove"
	} else if err := t.remove(f); err != nil {
		c.report.note("%s stays: %v", name, err)
		return nil
	}
	c.gone(f.bytes, 1, "%s %s (%s, %s)", did, name, shownBytes(f.bytes), why)
	return nil
}

// openTrees opens the folders of all rules before anything is touched: what is odd about one of them ends the step.
func (c *cleaning) openTrees() error {
	c.trees = map[string]*tree{}
	for i, r := range c.Rules {
		folder, match := r.folder(), r.match()
		if folder == "" {
			continue
		}
		t, err := openTree(folder, c.guarded)
		if err != nil {
			return err
		}
		if c.trees[folder] == nil {
			c.trees[folder] = t
		} else {
			t.close()
		}
		if t != nil && t.top && wide(match) {
			return sdk.Failf("name a folder below it, or a narrower match",
				"%s is the root of a file system, and rule %d matches all of it: %q", folder, i+1, match)
		}
	}
	return nil
}

func (c *cleaning) close() {
	for _, t := range c.trees {
		t.close()
	}
}
