package capture

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// plan is what the options come to.
type plan struct {
	// roots are clean, none below another, in order.
	roots   []string
	missing []string
	exclude patterns
	// whole are paths that exclude does not hold for, with all below them.
	whole []string
	// overlays are by the prefix of their folder and their name in it.
	overlays map[string]map[string]string
	// absent are names by the prefix of their folder.
	absent map[string]map[string]bool
	// devices are the file systems that may be entered; nil: all.
	devices map[uint64]bool
}

func newPlan(o Options) (plan, error) {
	exclude, err := compile(o.Exclude)
	if err != nil {
		return plan{}, err
	}
	named, err := cleanPaths(o.Roots)
	if err != nil {
		return plan{}, err
	}
	p := plan{exclude: exclude}
	for path := range o.Overlays {
		if !slices.Contains(o.Live, path) {
			p.whole = append(p.whole, filepath.Clean(path))
		}
	}
	for _, root := range named {
		if n := len(p.roots); n == 0 || !within(root, p.roots[n-1]) {
			p.roots = append(p.roots, root)
		}
		if err := p.checkExcluded(root, p.roots[len(p.roots)-1]); err != nil {
			return plan{}, err
		}
	}
	if err := p.setAbsent(o.Absent); err != nil {
		return plan{}, err
	}
	if err := p.setOverlays(o.Overlays); err != nil {
		return plan{}, err
	}
	return p, p.lookAt(named, o.OneFileSystem)
}

// cleanPaths returns roots clean, in order, each once.
func cleanPaths(roots []string) ([]string, error) {
	if len(roots) == 0 {
		return nil, shivx.Hint(errors.New("nothing to capture: no roots"), "name the folders and files of the set")
	}
	clean := make([]string, 0, len(roots))
	for _, r := range roots {
		if err := checkPath("root", r); err != nil {
			return nil, err
		}
		clean = append(clean, filepath.Clean(r))
	}
	slices.SortFunc(clean, format.ComparePaths)
	return slices.Compact(clean), nil
}

func checkPath(what, p string) error {
	if !filepath.IsAbs(p) || strings.ContainsRune(p, 0) {
		return shivx.Hint(fmt.Errorf("%s %q is not an absolute path", what, p), "begin it with /")
	}
	return nil
}

// within says whether path is root or lies below it; both are clean.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, prefixOf(root))
}

// prefixOf is what the paths of all below a folder begin with.
func prefixOf(folder string) string {
	if folder == "/" {
		return folder
	}
	return folder + "/"
}

// checkExcluded refuses a root that a pattern takes away, by itself or by a folder above it within
// the root that covers it.
func (p *plan) checkExcluded(root, cover string) error {
	for at := root; ; at = filepath.Dir(at) {
		if pattern, ok := p.exclude.find(at); ok && !p.isWhole(at) {
			return shivx.Hint(fmt.Errorf("root %s is excluded by the pattern %q", root, pattern),
				"remove the root, or make the pattern narrower")
		}
		if at == cover {
			return nil
		}
		if format.OwnName(filepath.Base(at)) {
			return shivx.Hint(fmt.Errorf("root %s lies below the root %s, in a folder that a restore has made and no golden holds", root, cover),
				"move what is to be kept out of "+at)
		}
	}
}

// isWhole says whether no pattern holds for path.
func (p *plan) isWhole(path string) bool {
	return slices.ContainsFunc(p.whole, func(w string) bool { return within(path, w) })
}

// excluded are the patterns that may match a name right below prefix.
func (p *plan) excluded(prefix string) patterns {
	if len(p.whole) > 0 && p.isWhole(strings.TrimSuffix(prefix, "/")) {
		return nil
	}
	return p.exclude.within(prefix)
}

func (p *plan) setAbsent(paths []string) error {
	p.absent = map[string]map[string]bool{}
	for _, path := range paths {
		if err := checkPath("absent", path); err != nil {
			return err
		}
		dir, name := split(filepath.Clean(path))
		if p.absent[dir] == nil {
			p.absent[dir] = map[string]bool{}
		}
		p.absent[dir][name] = true
	}
	return nil
}

func (p *plan) setOverlays(overlays map[string]string) error {
	p.overlays = map[string]map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(overlays)) {
		to := overlays[path]
		if err := errors.Join(checkPath("overlay", path), checkPath("replacement", to)); err != nil {
			return err
		}
		path = filepath.Clean(path)
		if !slices.ContainsFunc(p.roots, func(r string) bool { return within(path, r) }) {
			return shivx.Hint(fmt.Errorf("overlay %s lies below no root", path), "add its folder to the roots")
		}
		if err := p.checkAbove(path); err != nil {
			return err
		}
		dir, name := split(path)
		if p.overlays[dir] == nil {
			p.overlays[dir] = map[string]string{}
		}
		if _, twice := p.overlays[dir][name]; twice {
			return fmt.Errorf("overlay %s is named twice", path)
		}
		if p.absent[dir][name] {
			return fmt.Errorf("overlay %s is to be absent too", path)
		}
		p.overlays[dir][name] = filepath.Clean(to)
	}
	return nil
}

// checkAbove refuses an overlay in a folder that is excluded, as nobody would come by.
func (p *plan) checkAbove(path string) error {
	for at := path; at != "/" && !slices.Contains(p.roots, at); {
		at = filepath.Dir(at)
		if pattern, ok := p.exclude.find(at); ok && !p.isWhole(at) {
			return shivx.Hint(fmt.Errorf("overlay %s lies in %s, which the pattern %q excludes", path, at, pattern),
				"exclude what lies in the folder instead of the folder, such as "+prefixOf(at)+"*")
		}
	}
	return nil
}

// split takes a clean path apart into the prefix of its folder and its name. The path "/" is a name
// below no prefix.
func split(path string) (prefix, name string) {
	if path == "/" {
		return "", path
	}
	i := strings.LastIndexByte(path, '/')
	return path[:i+1], path[i+1:]
}

// lookAt finds the roots that are missing and refuses what cannot be one.
func (p *plan) lookAt(named []string, oneFileSystem bool) error {
	if oneFileSystem {
		p.devices = map[uint64]bool{}
	}
	for _, root := range named {
		prefix, name := split(root)
		to, replaced := p.overlays[prefix][name]
		if !replaced {
			to = root
		}
		var st unix.Stat_t
		err := unix.Lstat(to, &st)
		missing := p.absent[prefix][name] || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR)
		switch {
		case missing && slices.Contains(p.roots, root) && !replaced:
			p.missing = append(p.missing, root)
		case err != nil && !missing:
			return fmt.Errorf("root %s: %w", root, err)
		case !missing:
			if err := checkRoot(root, st.Mode); err != nil {
				return err
			}
			if p.devices != nil {
				p.devices[st.Dev] = true
			}
		}
	}
	return nil
}

func checkRoot(root string, mode uint32) error {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR, unix.S_IFREG:
		return nil
	case unix.S_IFLNK:
		hint := "name its target"
		if target, err := filepath.EvalSymlinks(root); err == nil {
			hint += ", " + target
		} else if link, err := os.Readlink(root); err == nil {
			hint += ", " + link
		}
		return shivx.Hint(fmt.Errorf("root %s is a symbolic link", root), hint)
	default:
		return shivx.Hint(fmt.Errorf("root %s is neither a folder nor a file", root), "remove it from the roots")
	}
}
