package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
)

// sight is what of a host the state of a component is.
type sight struct {
	// paths are those of the state, clean, in order, none inside another, wherever links lead.
	paths   []string
	exclude []string
	// links lead from paths that are symbolic links to what is meant by them; "": to nothing.
	links map[string]string
	// anew are, of the links that lead to nothing, the places where a restore builds what they are to lead to.
	anew map[string]string
	// previous is the checkpoint whose entries tell what is unchanged.
	previous *Checkpoint
}

// see looks up where the state lies.
func (s *Store) see(state config.State) (sight, error) {
	var clean []string
	for _, p := range state.Paths {
		if !filepath.IsAbs(p) || strings.ContainsRune(p, 0) {
			return sight{}, fmt.Errorf("state path %q is not absolute", p)
		}
		if p = filepath.Clean(p); p == "/" {
			return sight{}, errors.New(`state path "/" is too much; name the folders of the component`)
		}
		clean = append(clean, p)
	}
	slices.SortFunc(clean, format.ComparePaths)
	seen := sight{exclude: state.Globs(), links: map[string]string{}, anew: map[string]string{}}
	for _, p := range clean {
		if n := len(seen.paths); n > 0 && format.Below(seen.paths[n-1], p) {
			continue
		}
		if err := s.apart(p); err != nil {
			return sight{}, err
		}
		seen.paths = append(seen.paths, p)
		if real, link := target(p); link {
			seen.links[p] = real
		}
	}
	return seen, seen.disentangle()
}

// apart refuses a path that holds the checkpoints, or lies among them. Each checkpoint would hold all of those
// before, and a restore would take away the newer ones, with the journal of that very restore.
func (s *Store) apart(path string) error {
	const hint = "name only the folders that the component itself writes to, or move paths.var elsewhere; state.exclude does not help"
	vars := filepath.Dir(s.home)
	switch {
	case holds(path, vars), holds(path, s.home):
		return shivx.Hint(fmt.Errorf("state path %s holds %s, where ShivX keeps its checkpoints", path, vars), hint)
	case holds(s.home, path):
		return shivx.Hint(fmt.Errorf("state path %s lies in %s, where ShivX keeps its checkpoints", path, s.home), hint)
	}
	return nil
}

// holds says whether top is path or a folder above it, whatever links and mounts lead there.
func holds(top, path string) bool {
	if format.Below(top, path) {
		return true
	}
	folder, err := os.Stat(top)
	if err != nil {
		return false
	}
	for at := place(path); ; at = filepath.Dir(at) {
		if above, err := os.Stat(at); err == nil && os.SameFile(folder, above) {
			return true
		}
		if at == "/" {
			return false
		}
	}
}

// place is where a path lies when the links in it are followed, as far as it exists.
func place(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Join(place(filepath.Dir(path)), filepath.Base(path))
}

// disentangle drops each path that leads to, or into, what another one holds: both cannot be swapped, and the
// other one's checkpoint has it. What was excluded below it is so below the other one. One that is itself excluded there
// would be in no checkpoint at all, and is refused.
func (s *sight) disentangle() error {
	places := map[string]string{}
	for _, p := range s.paths {
		places[p] = place(p)
	}
	// What may hold others comes first, and of two that are one place the one that is no link.
	order := slices.Clone(s.paths)
	slices.SortStableFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(places[a]), len(places[b])), cmp.Compare(s.linked(a), s.linked(b)))
	})
	s.paths = nil
	for _, p := range order {
		at := slices.IndexFunc(s.paths, func(q string) bool { return format.Below(places[q], places[p]) })
		if at < 0 {
			s.paths = append(s.paths, p)
			continue
		}
		holder := s.paths[at]
		name := holder + strings.TrimPrefix(places[p], places[holder])
		if leftOut(name, holder, s.exclude) {
			return shivx.Hint(fmt.Errorf("state path %s leads to %s, which state.exclude leaves out of the state path %s", p, name, holder),
				"make the pattern narrower, or remove "+p+" from state.paths")
		}
		s.exclude = append(s.exclude, translate(s.exclude, p, name)...)
		delete(s.links, p)
	}
	slices.SortFunc(s.paths, format.ComparePaths)
	return nil
}

func (s *sight) linked(path string) int {
	if _, link := s.links[path]; link {
		return 1
	}
	return 0
}

// translate returns those of the patterns that hold below one path as they hold below another one.
func translate(globs []string, from, to string) []string {
	var moved []string
	for _, g := range globs {
		if rest, ok := strings.CutPrefix(g, quote(from)+"/"); ok {
			moved = append(moved, quote(to)+"/"+rest)
		}
	}
	return moved
}

// quote makes a path a pattern that matches it alone.
func quote(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`).Replace(path)
}

// options are those of a capture that follows the links.
func (s sight) options() capture.Options {
	o := capture.Options{Roots: s.paths, Exclude: s.exclude, Overlays: map[string]string{}, Workers: min(mostWorkers, max(2, runtime.GOMAXPROCS(0)))}
	for path, real := range s.links {
		if real == "" {
			o.Absent = append(o.Absent, path)
			continue
		}
		o.Overlays[path], o.Live = real, append(o.Live, path)
	}
	return o
}

// real is where a path of the state lies, with the links of the state's paths followed.
func (s sight) real(path string) string {
	for root, real := range s.links {
		if format.Below(root, path) && real != "" {
			return filepath.Clean(real + strings.TrimPrefix(path, root))
		}
	}
	return path
}

// site is that of a path of the state as it lies now.
func (s sight) site(path string) site {
	for root, real := range s.links {
		if real == "" {
			real = s.anew[root]
		}
		if format.Below(root, path) && real != "" {
			return site{path: path, real: filepath.Clean(real + path[len(root):]), root: root, to: real}
		}
	}
	return site{path: path, real: path, root: path, to: path}
}

// gone says that a path is a link that leads to nothing.
func (s sight) gone(path string) bool {
	real, link := s.links[path]
	return link && real == ""
}

// dangling lists the links that lead nowhere. What they were to lead to may be there, on a file system that is not
// mounted: that a restore must not remove.
func (s sight) dangling() []format.Note {
	var list []format.Note
	for _, p := range s.paths {
		if s.gone(p) {
			list = append(list, format.Note{Path: p, Why: "a link that leads nowhere"})
		}
	}
	return list
}

// target says whether a path is a symbolic link, and where it leads; "": nowhere.
func target(path string) (real string, link bool) {
	if _, err := os.Readlink(path); err != nil {
		return "", false
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", true
	}
	return real, true
}
