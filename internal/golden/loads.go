package golden

import (
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/source"
)

// load is an export that a program puts into a server once that runs.
type load struct {
	format.Source
	source.Finisher
}

// loads are those that a restore of some paths, or of all of a golden, comes with.
func loads(set Set, only []string, in []format.Source) ([]load, error) {
	v := validating{only: only}
	var list []load
	for _, src := range in {
		if !v.wanted(src.Path) {
			continue
		}
		found, err := sourceOf(set, src)
		if err != nil {
			return nil, err
		}
		if f, ok := found.(source.Finisher); ok {
			list = append(list, load{src, f})
		}
	}
	return list, nil
}

// loadNotes says what a plan cannot show, and what an undo cannot take back.
func (e *Engine) loadNotes(r Restore, in []format.Source) []string {
	set, err := e.Set(r.Set)
	if err != nil || r.To != "" {
		return nil
	}
	list, err := loads(set, r.Only, in)
	if err != nil {
		return []string{"it is refused: " + err.Error()}
	}
	var notes []string
	for _, l := range list {
		notes = append(notes, "source "+l.Name+": its databases are replaced by the dumps in "+l.Path+
			" once the services run; an undo after that puts back the files, not the databases")
	}
	return notes
}
