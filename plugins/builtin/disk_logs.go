package builtin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/plugins/sdk"
)

// rotatedName is what a rotated log is called: NAME-20060102T150405Z, a number when that was taken, and the suffix of
// its compression.
var rotatedName = regexp.MustCompile(`^(.+)-\d{8}T\d{6}Z(?:-\d+)?(\.gz|\.zst)?$`)

const (
	rotatedTime = "-20060102T150405Z"
	// partMark ends the name of a rotated log that is being written.
	partMark = ".shivx-part"
)

// oneLog is a log with those rotated from it, the newest first.
type oneLog struct {
	live    *found
	rotated []found
	parts   []found
}

// rotateLogs follows a rule for logs.
func (c *cleaning) rotateLogs(ctx context.Context, o logFiles) error {
	t := c.trees[o.Path]
	if t == nil {
		c.report.note("there is no folder %s", o.Path)
		return nil
	}
	logs, err := c.logsOf(ctx, t, o)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range logs {
		if enough, _, err := c.enough(); ctx.Err() != nil || err != nil || enough && c.UntilFree != nil {
			return errors.Join(append(errs, ctx.Err(), err)...)
		}
		errs = append(errs, c.oneLog(ctx, t, o, l))
	}
	return errors.Join(errs...)
}

// logsOf lists the logs of a rule, the biggest first.
func (c *cleaning) logsOf(ctx context.Context, t *tree, o logFiles) ([]*oneLog, error) {
	list, err := t.find(ctx, o.Match, c.report.note)
	if err != nil {
		return nil, err
	}
	rest, err := t.find(ctx, path.Join(path.Dir(o.Match), "*"), c.report.note)
	if err != nil {
		return nil, err
	}
	logs := map[string]*oneLog{}
	var orphans []found
	for _, f := range list {
		if rotatedName.MatchString(f.name) || strings.HasSuffix(f.name, partMark) {
			continue
		}
		logs[f.rel()] = &oneLog{live: &f}
	}
	for _, f := range rest {
		name, part := strings.CutSuffix(f.name, partMark)
		if part {
			name = strings.TrimPrefix(name, ".")
		}
		m := rotatedName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		l := logs[path.Join(f.dir, m[1])]
		if l == nil && len(o.Reopen) > 0 && !part && m[2] == "" && doublestar.MatchUnvalidated(o.Match, path.Join(f.dir, m[1])) {
			orphans = append(orphans, f)
		}
		if l == nil {
			continue
		}
		if part {
			l.parts = append(l.parts, f)
		} else {
			l.rotated = append(l.rotated, f)
		}
	}
	if err := c.reopenAgain(ctx, t, o, orphans); err != nil {
		return nil, err
	}
	all := make([]*oneLog, 0, len(logs))
	for _, l := range logs {
		slices.SortFunc(l.rotated, func(a, b found) int { return cmp.Compare(b.name, a.name) })
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *oneLog) int {
		return cmp.Or(cmp.Compare(b.live.bytes, a.live.bytes), cmp.Compare(a.live.rel(), b.live.rel()))
	})
	return all, nil
}

// oneLog finishes what an earlier step left of a log, removes the rotated ones that are too many, and rotates it.
func (c *cleaning) oneLog(ctx context.Context, t *tree, o logFiles, l *oneLog) error {
	for _, p := range l.parts {
		if err := c.finishPart(t, p); err != nil {
			return err
		}
	}
	due := l.live.bytes >= int64(*o.BiggerThan)
	keep := *o.Keep
	if due {
		keep = max(0, keep-1)
	}
	for i := len(l.rotated) - 1; i >= keep; i-- { // the oldest first
		if err := c.removeOne(t, l.rotated[i], fmt.Sprintf("rotated; %d are kept", *o.Keep)); err != nil {
			return err
		}
	}
	if err := c.packRotated(ctx, t, o, l.rotated[:min(keep, len(l.rotated))]); err != nil || !due {
		return err
	}
	name := path.Join(t.path, l.live.rel())
	switch {
	case l.live.names > 1:
		c.report.note("%s stays: it has %d names, and the other one may be no log", name, l.live.names)
		return nil
	case l.live.bytes > c.left:
		c.report.note("%s (%s) stays: one run may free no more than %s", name, shownBytes(l.live.bytes), shownBytes(c.most()))
		return nil
	case c.req.Plan:
		c.planRotation(name, o, *l.live)
		return nil
	case len(o.Reopen) > 0:
		return c.renameLog(ctx, t, o, *l.live)
	}
	c.req.Progress("rotating %s (%s)", name, shownBytes(l.live.bytes))
	return c.copyLog(ctx, t, o, *l.live, time.Now().UTC().Format(rotatedTime), true)
}

func (c *cleaning) planRotation(name string, o logFiles, f found) {
	how, gain := "copy and cut", f.bytes
	if len(o.Reopen) > 0 {
		how = "rename and run " + command.Line(o.Reopen)
	}
	switch {
	case *o.Keep == 0 && len(o.Reopen) == 0:
		how = "cut without a copy"
	case o.Compress == "none":
		gain = 0
	}
	c.gone(gain, 1, "rotate %s (%s, less what the copy takes): %s, compress: %s", name, shownBytes(f.bytes), how, o.Compress)
}

// finishPart gives what a step that was killed had copied of a log its name: its place in the log is empty already.
func (c *cleaning) finishPart(t *tree, p found) error {
	name := strings.TrimPrefix(strings.TrimSuffix(p.name, partMark), ".")
	if c.req.Plan {
		c.report.change("keep %s, which a step that was killed has left", path.Join(t.path, p.dir, name))
		return nil
	}
	fd, err := t.folder(p.dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", path.Join(t.path, p.dir), err)
	}
	defer closeFD(fd)
	switch whole, err := cutToPieces(fd, p, codecFor(rotatedName.FindStringSubmatch(name)[2])); {
	case err != nil:
		return err
	case whole == 0:
		return unix.Unlinkat(fd, p.name, 0)
	}
	final, err := renameFree(fd, p.name, name)
	if err == nil {
		c.report.change("kept %s, which a step that was killed has left", path.Join(t.path, p.dir, final))
	}
	return err
}

// packRotated compresses rotated logs that are not yet, once nobody writes to them any more.
func (c *cleaning) packRotated(ctx context.Context, t *tree, o logFiles, list []found) error {
	for _, f := range list {
		m := rotatedName.FindStringSubmatch(f.name)
		if o.Compress == "none" || m[2] != "" {
			continue
		}
		held, err := c.open.holds(c.host.fs, f.identity)
		if err != nil {
			return err
		}
		name := path.Join(t.path, f.rel())
		switch {
		case held:
			c.report.note("%s is still written to; it is compressed the next time", name)
		case f.names > 1 || f.bytes > c.left:
		case c.req.Plan:
			c.gone(f.bytes, 1, "compress %s (%s, less what the copy takes)", name, shownBytes(f.bytes))
		default:
			if err := c.copyLog(ctx, t, o, f, strings.TrimPrefix(f.name, m[1]), false); err != nil {
				return err
			}
		}
	}
	return nil
}

// renameLog renames a log, makes its service open a new one, and compresses the old when it is not in use any more.
func (c *cleaning) renameLog(ctx context.Context, t *tree, o logFiles, f found) error {
	fd, err := t.folder(f.dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", path.Join(t.path, f.dir), err)
	}
	defer closeFD(fd)
	if now, err := lookAt(fd, f.dir, f.name); err != nil || now.identity != f.identity {
		c.report.note("%s stays: %v", path.Join(t.path, f.rel()), errChanged)
		return nil
	}
	rotated, err := renameFree(fd, f.name, f.name+time.Now().UTC().Format(rotatedTime))
	if err != nil {
		return err
	}
	if _, err := command.Run(ctx, command.Spec{Argv: o.Reopen, Timeout: time.Duration(o.Timeout)}); err != nil {
		_, back := renameFree(fd, rotated, f.name)
		return failed(errors.Join(err, back), "the log has its old name again, unless the service had opened a new one; correct the option reopen")
	}
	c.report.change("renamed %s to %s and ran %s", path.Join(t.path, f.rel()), rotated, command.Line(o.Reopen))
	f.name = rotated
	for end := time.Now().Add(reopenWait); time.Now().Before(end); {
		c.open = openFiles{}
		if held, err := c.open.holds(c.host.fs, f.identity); err != nil || !held {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	if *o.Keep == 0 {
		now, err := lookAt(fd, f.dir, f.name)
		if err != nil {
			return err
		}
		return c.removeOne(t, now, "rotated; none is kept")
	}
	return c.packRotated(ctx, t, o, []found{f})
}

// reopenAgain makes a service open its log anew that still writes to a renamed one, while there is none of the old name:
// a step that was killed between the two has left it so, and no rule would find that log again.
func (c *cleaning) reopenAgain(ctx context.Context, t *tree, o logFiles, renamed []found) error {
	for _, f := range renamed {
		held, err := c.open.holds(c.host.fs, f.identity)
		if err != nil {
			return err
		}
		if !held {
			continue
		}
		name := path.Join(t.path, f.rel())
		if c.req.Plan {
			c.report.change("run %s: %s is still written to", command.Line(o.Reopen), name)
			return nil
		}
		if _, err := command.Run(ctx, command.Spec{Argv: o.Reopen, Timeout: time.Duration(o.Timeout)}); err != nil {
			return failed(err, "correct the option reopen; until then the service writes to "+name)
		}
		c.report.change("ran %s: %s was still written to", command.Line(o.Reopen), name)
		return nil
	}
	return nil
}

// reopenWait is how long a service may go on with its old log after it was told to open a new one.
const reopenWait = 5 * time.Second

// errNoRoom says that there is no room for the compressed copy of a log.
var errNoRoom = errors.New("there is no room for a compressed copy")

func noRoom(name string) error {
	return &sdk.Fail{Message: fmt.Sprintf("%s cannot be rotated: %v", name, errNoRoom), Hint: "put a rule that frees something before it, or set keep: 0, which cuts the log without a copy", Err: errNoRoom}
}
