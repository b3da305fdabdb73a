package golden

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/source"
	"github.com/shivx/shivx/internal/golden/source/validate"
)

// Validate looks at what is staged: at each file that a validation of the set matches, and at the exports of
// its sources. It returns how many were looked at. The error is ErrInvalid, with the first mostFaults that are wrong.
func (e *Engine) Validate(ctx context.Context, r Restore) (int64, error) {
	set, err := e.Set(r.Set)
	if err != nil {
		return 0, err
	}
	leave, err := e.enter(ctx, r.ID)
	if err != nil {
		return 0, err
	}
	defer leave()
	if err := e.Over(r.ID); err != nil {
		return 0, err
	}
	st, err := e.need(ctx, r)
	if err != nil {
		return 0, err
	}
	s, g, err := e.find(ctx, Ref{Set: r.Set, Golden: r.Golden, Trust: r.Trust})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	v := validating{set: set, staged: st, only: r.Only}
	for live, at := range st.Places() {
		v.places = append(v.places, validate.Staged{Live: live, At: at})
	}
	shown := e.visible(g, r)
	for entry, err := range shown.Entries(ctx) {
		if err != nil {
			return v.looked, err
		}
		if err := v.file(ctx, entry); err != nil {
			return v.looked, err
		}
	}
	v.sources(ctx, shown.Header().Sources)
	if ctx.Err() != nil {
		return v.looked, ctx.Err()
	}
	return v.looked, v.fault()
}

// mostFaults is how many files that are not valid an error names.
const mostFaults = 20

// validating is one validation under way.
type validating struct {
	set    Set
	staged *restore.Staged
	only   []string
	places []validate.Staged
	looked int64
	// faults are the first, and wrong counts all.
	faults []error
	wrong  int
}

// found counts what was looked at, and notes what is wrong with it.
func (v *validating) found(err error) {
	v.looked++
	if err == nil {
		return
	}
	if v.wrong++; len(v.faults) < mostFaults {
		v.faults = append(v.faults, err)
	}
}

// fault is the verdict.
func (v *validating) fault() error {
	if v.wrong == 0 {
		return nil
	}
	err := errors.Join(v.faults...)
	if more := v.wrong - len(v.faults); more > 0 {
		err = fmt.Errorf("%w\nand %d more", err, more)
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// wanted says whether a path is part of the restore.
func (v *validating) wanted(path string) bool {
	return len(v.only) == 0 || slices.ContainsFunc(v.only, func(o string) bool { return format.Below(o, path) })
}

func (v *validating) file(ctx context.Context, e *format.Entry) error {
	if e.Type != format.TypeFile && e.Type != format.TypeHardlink || !v.wanted(e.Path) {
		return nil
	}
	for _, rule := range v.set.Validations {
		fits, err := doublestar.Match(rule.Match, e.Path)
		if err != nil {
			return fmt.Errorf("validation of %s: %w", rule.Match, err)
		}
		// A hard link may be another name of a symbolic link or a pipe, which are not looked at either.
		if fits && (e.Type == format.TypeFile || regular(v.staged.Path(e.Path))) {
			v.found(v.rule(ctx, rule, e.Path))
		}
	}
	return nil
}

func regular(path string) bool {
	info, err := os.Lstat(path)
	return err != nil || info.Mode().IsRegular() // what cannot be looked at is for the rule to complain of
}

func (v *validating) rule(ctx context.Context, rule config.GoldenValidation, path string) error {
	if rule.Command == nil {
		return validate.File(validate.Format(rule.Format), path, v.staged.Path(path))
	}
	return validate.Run(ctx, command.Spec{Argv: rule.Command.Argv, Dir: rule.Command.Dir, Env: rule.Command.Env, Timeout: rule.Command.Timeout}, path, v.places)
}

// sources looks at the exports of databases, where there is a way to.
func (v *validating) sources(ctx context.Context, in []format.Source) {
	for _, src := range in {
		if !v.wanted(src.Path) {
			continue
		}
		found, err := sourceOf(v.set, src)
		if err != nil {
			v.found(err)
			continue
		}
		if check, ok := found.(source.Verifier); ok && v.stagedWhole(src.Path) {
			v.found(check.Verify(ctx, v.staged.Path(src.Path)))
		}
	}
}

// stagedWhole says whether all of an export waits beside the live one. Where a restore in place, or one to a folder
// that is mounted, exchanges some files of it, what lies there is neither state, and may be in use. That the new one
// is the golden's, which was verified when it was taken, the comparison of all bytes shows.
func (v *validating) stagedWhole(path string) bool {
	return slices.ContainsFunc(v.places, func(p validate.Staged) bool { return p.At != "" && format.Below(p.Live, path) })
}

// Loaded is what Load has done.
type Loaded struct {
	// Databases that were loaded by their own programs.
	Databases int
	// Ledgers that the golden has copies of.
	Ledgers []LedgerJoin
}

// Load does what databases need that are restored by their own programs, once their services run, and joins
// our own audit logs. After an error the database it names and those after it are as they were; those before it
// are loaded, and no undo takes that back. The error is ErrOver when the restore was called off.
func (e *Engine) Load(ctx context.Context, r Restore) (Loaded, error) {
	var loaded Loaded
	set, err := e.Set(r.Set)
	if err == nil {
		err = e.CalledOff(r.ID)
	}
	if err != nil {
		return loaded, err
	}
	s, g, err := e.find(ctx, Ref{Set: r.Set, Golden: r.Golden, Trust: r.Trust})
	if err != nil {
		return loaded, err
	}
	defer s.Close()
	list, err := loads(set, r.Only, g.Header().Sources)
	if err != nil {
		return loaded, err
	}
	for _, l := range list {
		if err := l.After(ctx); err != nil {
			return loaded, fmt.Errorf("load %s: %w", l.Name, err)
		}
		loaded.Databases++
		e.o.Logger.Warn("databases were replaced by their dumps; an undo from here on puts back the files only", "restore", r.ID, "source", l.Name)
	}
	loaded.Ledgers, err = e.joinLedgers(ctx, set, r, g)
	return loaded, err
}
