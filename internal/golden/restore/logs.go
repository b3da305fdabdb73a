package restore

import (
	"path/filepath"
	"slices"

	"github.com/shivx/shivx/internal/golden/format"
)

// logFile is a file beside a database to be restored that belongs to another state of it. The database would take
// it for its own.
type logFile struct {
	path, database string
	// apart says that it does not lie in what is restored, so that it is to be removed by itself.
	apart bool
}

// logsOf lists them, whether they exist or not.
func logsOf(h format.Header, sel *selection) []logFile {
	within := func(path string) bool {
		if sel.only != nil {
			in, _ := sel.holds(path)
			return in
		}
		return slices.ContainsFunc(h.Roots, func(r string) bool { return format.Below(r, path) })
	}
	var list []logFile
	for _, src := range h.Sources {
		if !within(src.Path) {
			continue
		}
		for _, log := range src.Logs() {
			list = append(list, logFile{log, src.Path, !within(log)})
		}
	}
	return list
}

// removeLogs removes those that nothing else removes. Where there is none, one that a service has made by the
// time of an undo goes then, with the state that it belongs to; alone says whether a database is exchanged without
// the folder that it lies in.
func (c *comparer) removeLogs(alone func(database string) bool) error {
	for _, log := range c.r.logs {
		there, err := c.there(log.path)
		if err == nil && there && log.apart {
			err = c.remove(log.path)
		}
		if err == nil && !there && alone(log.database) {
			err = c.r.spoolUnit(unit{}, log.path, asideDir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// there says whether a path exists; one whose folder does not counts as if it did, for there is nothing to remove,
// and nothing to undo.
func (c *comparer) there(path string) (bool, error) {
	d, err := c.base(path)
	if err != nil || d.fd < 0 {
		return true, err
	}
	kind, err := c.look(d, filepath.Base(path))
	return kind != 0, err
}

// remove removes a path by itself, if it is there.
func (c *comparer) remove(path string) error {
	d, err := c.base(path)
	if err != nil {
		return err
	}
	base := filepath.Base(path)
	kind, err := c.look(d, base)
	if err != nil || kind == 0 {
		return err
	}
	// A whole restore has made its staging folders by now.
	if s, _ := c.r.places.at(path); c.r.spread != nil && s.Stage == "" {
		return changed()
	}
	return c.extra(d, child{base, kind})
}

// useAbsent notes that roots are removed which the golden has no entries of.
func (r *run) useAbsent(tops []top) error {
	if r.places.to != "" {
		return nil
	}
	for _, root := range r.places.roots {
		has := func(t top) bool { return t.path == string(root.Path) }
		if slices.ContainsFunc(tops, has) || slices.Contains(r.places.mounts, string(root.Real)) {
			continue
		}
		s, rel := r.places.at(string(root.Path))
		exists, err := s.open()
		if err != nil {
			return err
		}
		if exists {
			_, exists, err = statAt(s.base, rel)
		}
		if err != nil {
			return err
		}
		if exists {
			r.places.use(s)
		}
	}
	return nil
}
