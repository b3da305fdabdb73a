package capture

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// replace puts what an overlay names in the place of a name.
func (w *walker) replace(ctx context.Context, l *level, n name, to string) error {
	path := l.f.prefix + n.text
	delete(w.overlays, path)
	var st unix.Stat_t
	err := statAt(unix.AT_FDCWD, to, &st)
	if t := typeOf(st.Mode); err == nil && t != format.TypeFile && t != format.TypeDir {
		err = fmt.Errorf("%s is neither a folder nor a file", to)
	}
	if err != nil {
		return shivx.Hint(fmt.Errorf("replacement %s for %s: %w", to, path, err), "make the export first")
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		it, err := w.add(ctx, w.cwd, name{text: to, kind: unix.DT_REG}, l.f.prefix, n.text)
		if err == nil {
			it.path = path
		}
		return err
	}
	l.fixed = true
	f, err := w.lister.open(w.cwd, to, path, math.MaxInt)
	if err != nil {
		return fmt.Errorf("replacement %s for %s: %w", to, path, err)
	}
	return w.enter(ctx, l, n, f, nil)
}

// unmet tells of an overlay whose folder was not there.
func (w *walker) unmet() error {
	first := slices.Min(slices.Collect(maps.Keys(w.overlays)))
	return shivx.Hint(fmt.Errorf("overlay %s: its folder is missing or was not entered", first),
		"make the folder, or name another path for the overlay")
}
