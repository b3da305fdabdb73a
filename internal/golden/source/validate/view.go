package validate

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
)

// Staged says where the content of a live path lies before it is put in place.
type Staged struct {
	Live string
	// At is a file, a folder or a symbolic link; "": the restore removes what is at Live.
	At string
}

// placeholder stands in arguments for the file that is validated.
const placeholder = "{path}"

// viewScript builds a view in a mount namespace of its own, and becomes the program.
//
//go:embed view.sh
var viewScript string

// Run runs a program that must accept the file live. As root it sees a view of the file system, its
// own alone, in which the staged content is in place: there {path} is live, and so are the files that
// a configuration includes. What the program writes outside of the staged content is real: nginx -t
// opens its logs, for example. Without root there is no view: {path} is where live is staged, and a
// program without {path} would see the old files, so it is refused.
func Run(ctx context.Context, spec command.Spec, live string, staged []Staged) error {
	if len(spec.Argv) == 0 {
		return errors.New("validate: no command")
	}
	path := live
	inView := os.Geteuid() == 0
	if !inView {
		path = place(live, staged)
		if !slices.ContainsFunc(spec.Argv, func(a string) bool { return strings.Contains(a, placeholder) }) {
			return shivx.Hint(fmt.Errorf("validate %s: only root can show %s the files to come", live, spec.Argv[0]),
				"run as root, or give the command the file by "+placeholder)
		}
	}
	argv := slices.Clone(spec.Argv)
	for i, a := range argv[1:] {
		argv[i+1] = strings.ReplaceAll(a, placeholder, path)
	}
	spec.Argv = argv
	if inView {
		scratch, err := os.MkdirTemp("", "shivx-view-")
		if err != nil {
			return fmt.Errorf("validate %s: %w", live, err)
		}
		defer func() { _ = os.Remove(scratch) }()
		steps, err := plan(staged)
		if err != nil {
			return fmt.Errorf("validate %s: %w", live, err)
		}
		spec.Argv = slices.Concat([]string{"unshare", "--mount", "--propagation", "private", "--", "sh", "-c", viewScript, "view", scratch}, steps, []string{"run"}, argv)
	}
	out, err := command.Run(ctx, spec)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("validate %s: %w", live, ctx.Err())
	}
	text := strings.TrimSpace(out)
	if text == "" {
		text = "it failed without a word"
		if strings.Contains(err.Error(), "killed after") {
			text = "it did not end in time"
		}
	}
	return shivx.Hint(&Problem{Path: live, Message: command.Line(argv) + ": " + text},
		"the golden has the files as they were captured; restore an older golden, or more of this one")
}

// place is where live is staged, or live itself.
func place(live string, staged []Staged) string {
	at := live
	best := -1
	for _, s := range staged {
		rel, err := filepath.Rel(s.Live, live)
		if err == nil && filepath.IsLocal(rel) && s.At != "" && len(s.Live) > best {
			at, best = filepath.Join(s.At, rel), len(s.Live)
		}
	}
	return at
}

// plan says in the words of the script how the view is built. A staged file or folder is bound over
// a live one. Where there is nothing to bind it over, the folder around it is covered by an overlay,
// in which names are made and hidden; that hides file systems mounted below it.
func plan(staged []Staged) ([]string, error) {
	staged = slices.Clone(staged)
	slices.SortFunc(staged, func(a, b Staged) int { return cmp.Compare(a.Live, b.Live) })
	var covers, binds []string
	covered := ""
	for _, s := range staged {
		made, err := cover(s)
		if err != nil {
			return nil, err
		}
		if made != nil {
			if dir := filepath.Dir(s.Live); dir != covered {
				if covered != "" {
					covers = append(covers, "mount", covered)
				}
				covers, covered = append(covers, "cover", dir), dir
			}
			covers = append(covers, made...)
		}
		if info, err := os.Lstat(s.At); err == nil && info.Mode()&fs.ModeSymlink == 0 {
			binds = append(binds, "bind", s.At, s.Live)
		}
	}
	if covered != "" {
		covers = append(covers, "mount", covered)
	}
	return append(covers, binds...), nil
}

// cover is what must be made in a cover of the folder around s.Live; nil: nothing.
func cover(s Staged) ([]string, error) {
	live, err := os.Lstat(s.Live)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	name := filepath.Base(s.Live)
	if s.At == "" {
		if live == nil {
			return nil, nil
		}
		return []string{"hide", name}, nil
	}
	at, err := os.Lstat(s.At)
	if err != nil {
		return nil, err
	}
	switch {
	case at.Mode()&fs.ModeSymlink != 0:
		return []string{"copy", s.At, name}, nil
	case live != nil && live.Mode().Type() == at.Mode().Type():
		return nil, nil
	case at.IsDir():
		return []string{"folder", name}, nil
	}
	return []string{"file", name}, nil
}
