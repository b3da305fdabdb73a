package restore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// root is a path of the golden that is restored, and where it lies on this host.
type root struct {
	Path name `json:"path"`
	// Real is the path with the links above its last part resolved.
	Real name `json:"real"`

	mount bool
}

// site is a folder that holds a staging folder and all that is exchanged with it: the folder above a
// root, or a mount point. So both are on one file system and every move is a rename.
type site struct {
	Base name `json:"base"`
	// Stage is the name of the staging folder in Base.
	Stage name `json:"stage"`
	// Old and New are the times of Base before the restore and after, where it is part of the golden.
	Old *instant `json:"old,omitempty"`
	New *instant `json:"new,omitempty"`

	// number is its place in the list.
	number int
	// base and stage are open folders, -1 while they are not.
	base, stage int
	// bytes and inodes are what is to be staged.
	bytes, inodes int64
	// used says that something is staged, replaced or removed there.
	used bool
}

// places says where everything lies.
type places struct {
	mu    sync.Mutex
	roots []root
	to    string
	// mounts are the folders at and below the roots where file systems are mounted, the longest first;
	// pinned are files mounted by themselves, which cannot be replaced.
	mounts, pinned []string
	own            guards
	sites          []*site
	// made are folders that did not exist and were made, so that others can be put in them.
	made []name
}

// findPlaces looks up where the roots lie. It changes nothing.
func findPlaces(h format.Header, logs []logFile, o Options) (*places, error) {
	p := &places{}
	if o.To != "" {
		if err := format.CheckPath(o.To); err != nil {
			return nil, err
		}
		var err error
		p.to, err = resolve(o.To)
		return p, err
	}
	all, err := mountPoints("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for _, path := range h.Roots {
		concerned := func(only string) bool { return format.Below(path, only) }
		if len(o.Only) > 0 && !slices.ContainsFunc(o.Only, concerned) {
			continue
		}
		if err := p.addRoot(path, all, o); err != nil {
			return nil, err
		}
	}
	for _, log := range logs {
		if p.root(log.path) != nil {
			continue
		}
		if err := p.addRoot(log.path, all, o); err != nil {
			return nil, err
		}
	}
	return p, p.guard(o)
}

func (p *places) addRoot(path string, mounts []string, o Options) error {
	if path == "/" {
		return shivx.Hint(errors.New("the root of the file system cannot be restored while it is in use"),
			"start from another system, or restore below another folder with --to")
	}
	above, err := resolve(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("restore %s: %w", path, err)
	}
	r := root{Path: name(path), Real: name(filepath.Join(above, filepath.Base(path)))}
	for _, other := range p.roots {
		if format.Below(string(other.Real), string(r.Real)) || format.Below(string(r.Real), string(other.Real)) {
			return shivx.Hint(fmt.Errorf("restore %s: links lead %s and it to the same place, %s", path, other.Path, r.Real), "remove the link")
		}
	}
	for _, m := range mounts {
		if !format.Below(string(r.Real), m) {
			continue
		}
		info, err := os.Lstat(m)
		if errors.Is(err, fs.ErrNotExist) {
			continue // hidden under another one
		}
		if err != nil {
			return err
		}
		r.mount = r.mount || m == string(r.Real) && info.IsDir()
		if m != string(r.Real) && !o.InPlace && len(o.Only) == 0 {
			return shivx.Hint(fmt.Errorf("restore %s: another file system is mounted below it at %s", path, m),
				"restore in place, or make the mounted folder a root of its own and exclude it from this one")
		}
		if !info.IsDir() {
			p.pinned = append(p.pinned, m)
			continue
		}
		p.mounts = append(p.mounts, m)
	}
	p.roots = append(p.roots, r)
	if r.mount {
		p.spreadTo(&r, string(r.Real))
	}
	slices.SortFunc(p.mounts, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return nil
}

// root returns the root that a path of the golden lies below.
func (p *places) root(path string) *root {
	for i := range p.roots {
		if format.Below(string(p.roots[i].Path), path) {
			return &p.roots[i]
		}
	}
	return nil
}

// real returns where a path of the golden lies on this host.
func (p *places) real(path string) string {
	if p.to != "" {
		return strings.TrimSuffix(p.to, "/") + path
	}
	if r := p.root(path); r != nil {
		return string(r.Real) + path[len(r.Path):]
	}
	return path
}

// logical returns the path of the golden that lies at a real path.
func (p *places) logical(real string) string {
	for _, r := range p.roots {
		if format.Below(string(r.Real), real) {
			return string(r.Path) + real[len(r.Real):]
		}
	}
	return real
}

// at returns the site of a path of the golden and the path below its base.
func (p *places) at(path string) (*site, string) {
	real := p.real(path)
	base := p.to
	if base == "" {
		for _, r := range p.roots {
			if format.Below(string(r.Real), real) {
				base = filepath.Dir(string(r.Real))
			}
		}
	}
	for _, m := range p.mounts {
		if format.Below(m, real) {
			base = m
			break
		}
	}
	rel := "."
	if real != base {
		rel = strings.TrimPrefix(strings.TrimPrefix(real, base), "/")
	}
	return p.site(base), rel
}

func (p *places) site(base string) *site {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sites {
		if string(s.Base) == base {
			return s
		}
	}
	s := &site{Base: name(base), number: len(p.sites), base: -1, stage: -1}
	p.sites = append(p.sites, s)
	return s
}

// use notes that something happens at a site.
func (p *places) use(s *site) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.used = true
}

// remember notes the times of a folder in which a staging folder will be made and removed.
func (p *places) remember(path string, m *metaChange) {
	if len(p.mounts) == 0 || !slices.Contains(p.mounts, p.real(path)) {
		return
	}
	s, _ := p.at(path)
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Old = &m.Old.Time
	if m.New != nil {
		s.New = &m.New.Time
	}
}

// open opens the base of a site; ok is false when it does not exist yet.
func (s *site) open() (ok bool, err error) {
	if s.base >= 0 {
		return true, nil
	}
	fd, err := openReal(string(s.Base))
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.base = fd
	return true, nil
}

func (p *places) close() {
	for _, s := range p.sites {
		s.close()
	}
}

func (s *site) close() {
	if s.stage >= 0 {
		_ = unix.Flock(s.stage, unix.LOCK_UN) // see durable.Unlock
	}
	for _, fd := range []*int{&s.stage, &s.base} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// checkFree says whether nothing exists where paths are to be put below another folder.
func (p *places) checkFree(tops []top) error {
	for _, t := range tops {
		real := p.real(t.path)
		_, err := os.Lstat(real)
		if err == nil {
			return shivx.Hint(fmt.Errorf("%s exists already: %w", real, fs.ErrExist), "choose another folder, or remove it")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
