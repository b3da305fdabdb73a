package builtin

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx/internal/command"
)

// cleanTimeout is for commands without one of their own.
const cleanTimeout = 5 * time.Minute

// cutJournal makes systemd's journal give up its oldest files.
func (c *cleaning) cutJournal(ctx context.Context, o journalLimit) error {
	if _, err := exec.LookPath("journalctl"); err != nil {
		c.report.note("there is no journal of systemd on this host")
		return nil
	}
	if c.req.Plan {
		out, err := command.Run(ctx, command.Spec{Argv: []string{"journalctl", "--disk-usage"}})
		if err != nil {
			c.report.note("the journal does not say how big it is: %v", err)
			return nil
		}
		c.report.change("cut the journal to %s; %s", shownBytes(int64(o.Keep)), strings.TrimSpace(out))
		return nil
	}
	return c.run(ctx, cleaningCommand{Argv: []string{"journalctl", "--vacuum-size=" + strconv.FormatInt(int64(o.Keep), 10)}}, "/var/log/journal", "/run/log/journal")
}

// packageCaches are the package managers with where they keep what they have fetched.
var packageCaches = []struct {
	argv  []string
	cache string
}{
	{[]string{"apt-get", "clean"}, "/var/cache/apt"},
	{[]string{"dnf", "clean", "packages"}, "/var/cache/dnf"},
}

// cleanPackages removes the packages that were fetched to be installed.
func (c *cleaning) cleanPackages(ctx context.Context) error {
	for _, m := range packageCaches {
		if _, err := exec.LookPath(m.argv[0]); err != nil {
			continue
		}
		if c.req.Plan {
			size := sizeBelow(m.cache, ".deb", ".rpm")
			c.gone(size, 0, "run %s (%s of packages in %s)", command.Line(m.argv), shownBytes(size), m.cache)
			return nil
		}
		return c.run(ctx, cleaningCommand{Argv: m.argv}, m.cache)
	}
	c.report.note("there is neither apt-get nor dnf on this host")
	return nil
}

// sizeBelow adds up what files with one of the suffixes take on the disk.
func sizeBelow(folder string, suffixes ...string) (sum int64) {
	_ = filepath.WalkDir(folder, func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read is not counted
		}
		info, err := d.Info()
		for _, s := range suffixes {
			if err == nil && strings.HasSuffix(d.Name(), s) {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

// runCommand runs a command of the operator's own.
func (c *cleaning) runCommand(ctx context.Context, o cleaningCommand) error {
	if !c.req.Plan {
		return c.run(ctx, o, c.watched())
	}
	c.report.change("run %s", command.Line(o.Argv))
	if len(o.Plan) == 0 {
		return nil
	}
	out, err := command.Run(ctx, command.Spec{Argv: o.Plan, Timeout: o.timeout()})
	for _, line := range indented(out) {
		c.report.change("%s", line)
	}
	return err
}

func (o cleaningCommand) timeout() time.Duration {
	if o.Timeout == 0 {
		return cleanTimeout
	}
	return time.Duration(o.Timeout)
}

// run runs a command and takes what the file systems of the folders gained for what it freed.
func (c *cleaning) run(ctx context.Context, o cleaningCommand, folders ...string) error {
	before := make([]room, len(folders))
	for i, folder := range folders {
		before[i], _ = roomOf(folder)
	}
	c.req.Progress("running %s", command.Line(o.Argv))
	_, err := command.Run(ctx, command.Spec{Argv: o.Argv, Timeout: o.timeout()})
	if err != nil {
		return failed(err, "run it by hand to see what is wrong")
	}
	var gained int64
	for i, folder := range folders {
		if now, err := roomOf(folder); err == nil && before[i].size > 0 {
			gained = max(gained, now.free-before[i].free)
		}
	}
	c.gone(gained, 0, "ran %s, which freed %s", command.Line(o.Argv), shownBytes(gained))
	return nil
}
