package builtin

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx/plugins/sdk"
)

// diskRule is one way to make room; exactly one of its fields is set.
type diskRule struct {
	OldFiles *oldFiles        `json:"old_files"`
	Logs     *logFiles        `json:"logs"`
	Journal  *journalLimit    `json:"journal"`
	Packages bool             `json:"packages"`
	Command  *cleaningCommand `json:"command"`
}

// oldFiles removes regular files that were not written for a while.
type oldFiles struct {
	Path string `json:"path"`
	// Match is a pattern of paths below Path; default: what lies directly in it.
	Match string `json:"match"`
	// OlderThan is the age by the time of the last change of the content.
	OlderThan sdk.Duration `json:"older_than"`
	// Keep is how many of the newest stay, however old they are.
	Keep int `json:"keep"`
}

// logFiles rotates logs.
type logFiles struct {
	Path string `json:"path"`
	// Match is a pattern of paths below Path; default: *.log.
	Match string `json:"match"`
	// BiggerThan is what a log takes on the disk to be rotated; default 100MB.
	BiggerThan *byteSize `json:"bigger_than"`
	// Compress is gzip, which is the default and true, zstd or none, which is false.
	Compress codecName `json:"compress"`
	// Keep is how many rotated ones of each log stay; default 5.
	Keep *int `json:"keep"`
	// Reopen makes the service open its log anew. With it a log is renamed; without it, it is copied and cut.
	Reopen  []string     `json:"reopen"`
	Timeout sdk.Duration `json:"timeout"`
}

// journalLimit cuts systemd's journal.
type journalLimit struct {
	Keep byteSize `json:"keep"`
}

// cleaningCommand is a command of the operator's own.
type cleaningCommand struct {
	Argv []string `json:"argv"`
	// Plan is run in a plan and says what Argv would do.
	Plan    []string     `json:"plan"`
	Timeout sdk.Duration `json:"timeout"`
}

func (r diskRule) folder() string {
	switch {
	case r.OldFiles != nil:
		return r.OldFiles.Path
	case r.Logs != nil:
		return r.Logs.Path
	}
	return ""
}

func (r diskRule) match() string {
	switch {
	case r.OldFiles != nil:
		return r.OldFiles.Match
	case r.Logs != nil:
		return r.Logs.Match
	}
	return ""
}

func (r diskRule) do(ctx context.Context, c *cleaning) error {
	switch {
	case r.OldFiles != nil:
		return c.removeOld(ctx, *r.OldFiles)
	case r.Logs != nil:
		return c.rotateLogs(ctx, *r.Logs)
	case r.Journal != nil:
		return c.cutJournal(ctx, *r.Journal)
	case r.Packages:
		return c.cleanPackages(ctx)
	}
	return c.runCommand(ctx, *r.Command)
}

func (r *diskRule) check(at string) error {
	kinds := 0
	for _, given := range []bool{r.OldFiles != nil, r.Logs != nil, r.Journal != nil, r.Packages, r.Command != nil} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		return sdk.BadOption(at, "write one of old_files, logs, journal, packages and command; another rule is another item of the list", "says %d things to do, and not one", kinds)
	}
	switch {
	case r.OldFiles != nil:
		return r.OldFiles.check(at + ".old_files")
	case r.Logs != nil:
		return r.Logs.check(at + ".logs")
	case r.Journal != nil && r.Journal.Keep <= 0:
		return sdk.BadOption(at+".journal.keep", "for example keep: 500MB", "is missing")
	case r.Command != nil:
		return r.Command.check(at + ".command")
	}
	return nil
}

func (o *oldFiles) check(at string) error {
	if o.Match == "" {
		o.Match = "*"
	}
	switch {
	case o.OlderThan <= 0:
		return sdk.BadOption(at+".older_than", "for example older_than: 168h, which is a week", "is missing; files in use would go")
	case o.Keep < 0:
		return sdk.BadOption(at+".keep", "", "is negative")
	}
	return checkPlace(at, o.Path, o.Match)
}

func (o *logFiles) check(at string) error {
	if o.Match == "" {
		o.Match = "*.log"
	}
	if o.Compress == "" {
		o.Compress = "gzip"
	}
	if o.BiggerThan == nil {
		size := byteSize(100_000_000)
		o.BiggerThan = &size
	}
	if o.Keep == nil {
		keep := 5
		o.Keep = &keep
	}
	if _, ok := codecs()[o.Compress]; !ok {
		return sdk.BadOption(at+".compress", "write gzip, zstd or none", "%q is none of them", o.Compress)
	}
	switch {
	case *o.Keep < 0:
		return sdk.BadOption(at+".keep", "", "is negative")
	case o.Timeout < 0:
		return sdk.BadOption(at+".timeout", "", "is negative")
	}
	if err := checkArgv(at+".reopen", o.Reopen); err != nil {
		return err
	}
	return checkPlace(at, o.Path, o.Match)
}

func (o *cleaningCommand) check(at string) error {
	switch {
	case len(o.Argv) == 0:
		return sdk.BadOption(at+".argv", "for example argv: [docker, image, prune, --force]", "there is nothing to run")
	case o.Timeout < 0:
		return sdk.BadOption(at+".timeout", "", "is negative")
	}
	if err := checkArgv(at+".plan", o.Plan); err != nil {
		return err
	}
	return checkArgv(at+".argv", o.Argv)
}

func checkPlace(at, folder, match string) error {
	if err := checkFolder(folder); err != nil {
		return sdk.BadOption(at+".path", hintOfFail(err), "%v", err)
	}
	if !doublestar.ValidatePattern(match) || strings.HasPrefix(match, "/") || strings.Contains("/"+match+"/", "/../") {
		return sdk.BadOption(at+".match", `for example "*.tmp", or "**/*.tmp" for all folders below`, "%q is no pattern of paths below the folder", match)
	}
	return nil
}

func hintOfFail(err error) string {
	if fail, ok := errors.AsType[*sdk.Fail](err); ok {
		return fail.Hint
	}
	return ""
}

func cleanPath(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && !strings.ContainsRune(path, 0)
}
