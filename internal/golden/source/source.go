// Package source takes consistent copies of what cannot be copied while it runs: databases, and
// whatever commands prepare.
//
// A source writes an export into a private folder. The capture reads the export in place of the live
// files, under their paths. So a golden holds plain files in the state that their service would find
// after a crash at one instant, and a restore swaps them into place while the service is stopped,
// with the old state kept as for all other files.
package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx/internal/golden/format"
)

// DefaultLimit is how long an export may take unless its options say otherwise.
const DefaultLimit = 30 * time.Minute

// Source is something that is exported before a capture.
type Source interface {
	// Name is the configuration's, such as "shop".
	Name() string
	// Made says whether an export in a golden is of this kind and place: only then may Verify and After be
	// asked about it. A configuration may have given the name to another database since.
	Made(in format.Source) bool
	// Prepare makes an export in a new private folder below dir, which is made when it is missing.
	// It holds every change that was acknowledged before the call. After an error nothing is left.
	Prepare(ctx context.Context, dir string) (*Export, error)
}

// Verifier is a Source that can check a copy of its export before it is put into place.
type Verifier interface {
	// Verify checks the file or folder at path, where the content of the entry that Export.Sources
	// names lies now. It changes nothing there.
	Verify(ctx context.Context, path string) error
}

// Finisher is a Source whose restore needs a step once the service runs again.
type Finisher interface {
	// After does it, for good: nothing takes it back when the restore is undone. It may be called again after
	// an error.
	After(ctx context.Context) error
}

// IsPart says whether an export in a golden is a part of another one of the same name, which stands for it.
func IsPart(in format.Source) bool { return in.Type == typeTablespace || in.Type == typeRedisLog }

// Resumer is a Source that may owe the live state something after a process was killed.
type Resumer interface {
	// Resume does it, and says whether it was due; dir is that of Prepare. What a process has in hand that
	// runs is not due.
	Resume(ctx context.Context, dir string) (bool, error)
}

// Export is what a capture reads in place of the live state. Paths are absolute and clean.
type Export struct {
	// Overlays are files and folders to be read in place of those at the paths that are its keys.
	// There may be nothing at such a path now. Two overlays may be the same file.
	Overlays map[string]string
	// Absent are paths that a capture leaves out and a restore removes, which knows them by the header's
	// sources; no pattern of a header must name them. SQLite would apply a write-ahead log that it finds
	// beside another state of the database, and destroy it.
	Absent []string
	// Exclude are glob patterns of what is left out, and left in place by a restore.
	Exclude []string
	// Sources are for the golden's header: one for each overlay that no pattern may thin out.
	Sources []format.Source

	closers []func(context.Context) error
}

// Close removes the export and runs what must run after a capture. It does so also when ctx has
// ended, and more than once without harm.
func (e *Export) Close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, c := range slices.Backward(e.closers) {
		errs = append(errs, c(ctx))
	}
	e.closers = nil
	return errors.Join(errs...)
}

// PrepareAll prepares sources one after another and joins their exports. When one fails it closes
// the ones before.
func PrepareAll(ctx context.Context, dir string, sources ...Source) (*Export, error) {
	all := &Export{Overlays: map[string]string{}}
	for _, s := range sources {
		e, err := s.Prepare(ctx, dir)
		if err == nil {
			err = all.add(e)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("source %s: %w", s.Name(), err), all.Close(ctx))
		}
	}
	return all, nil
}

// add joins an export, which is closed with this one from now on.
func (e *Export) add(other *Export) error {
	e.closers = append(e.closers, other.Close)
	for _, path := range slices.Sorted(maps.Keys(other.Overlays)) {
		for taken := range e.Overlays {
			if within(path, taken) || within(taken, path) {
				return fmt.Errorf("%s is already in the export of another source, as %s", path, taken)
			}
		}
	}
	maps.Copy(e.Overlays, other.Overlays)
	e.Absent = append(e.Absent, other.Absent...)
	e.Exclude = append(e.Exclude, other.Exclude...)
	e.Sources = append(e.Sources, other.Sources...)
	return nil
}

// within says whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// GlobQuote makes a path a glob pattern that matches that path alone.
func GlobQuote(path string) string {
	var b strings.Builder
	for _, r := range path {
		if strings.ContainsRune(`\*?[]{}`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
