package golden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/source"
)

// ResumeSources does what is due since a backup was cut off, such as to start again what it had stopped. What is
// under way, in this process or another, is left alone.
func (e *Engine) ResumeSources(ctx context.Context) error {
	var errs []error
	for _, set := range e.o.Sets {
		for _, one := range set.Sources {
			r, ok := one.(source.Resumer)
			if !ok {
				continue
			}
			due, err := r.Resume(ctx, e.exports(set.Name))
			if err != nil {
				errs = append(errs, fmt.Errorf("what the source %s of the set %s still owes since a backup was cut off: %w", one.Name(), set.Name, err))
			} else if due {
				e.o.Logger.Warn("a backup was cut off; what its source owed is done", "set", set.Name, "source", one.Name())
			}
		}
	}
	return errors.Join(errs...)
}

// sourceOf returns the source of the configuration that an export in a golden is of, nil if there is none. It is an
// error that one of the name is of another kind or place by now: what it would check, or load into a server, is
// not what is restored.
func sourceOf(set Set, in format.Source) (source.Source, error) {
	i := slices.IndexFunc(set.Sources, func(s source.Source) bool { return s.Name() == in.Name })
	if i < 0 || source.IsPart(in) {
		return nil, nil //nolint:nilnil // none, and no error
	}
	found := set.Sources[i]
	_, verifies := found.(source.Verifier)
	_, loads := found.(source.Finisher)
	if found.Made(in) || !verifies && !loads {
		return found, nil
	}
	return nil, shivx.Hint(fmt.Errorf("the golden has the source %s as %s at %s, and the configuration has it of another kind or at another path", in.Name, in.Type, in.Path),
		"restore with the configuration of that time, which may be in a golden of the set system; or give the source of today another name; or look at the files with --to")
}

// explain says of what differs that it is an export: its bytes are not those of the live file, also where its
// content is the same.
func explain(c *restore.Changes, sources []format.Source) {
	for i := range c.List {
		one := &c.List[i]
		at := slices.IndexFunc(sources, func(s format.Source) bool { return format.Below(s.Path, one.Path) })
		if one.Kind == restore.Content && at >= 0 {
			one.Detail = strings.TrimPrefix(one.Detail+"; ", "; ") + "the golden has an export by the source " + sources[at].Name +
				", which is never the live file byte by byte"
		}
	}
}
