package golden

import (
	"context"
	"errors"
	"fmt"
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
// its sources. It returns how many were looked at. The error is ErrInvalid, with all that is wrong.
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
	if err := errors.Join(v.faults...); err != nil {
		return v.looked, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return v.looked, nil
}

// validating is one validation under way.
type validating struct {
	set    Set
	staged *restore.Staged
	only   []string
	places []validate.Staged
	looked int64
	faults []error
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
		if fits {
			v.looked++
			v.faults = append(v.faults, v.rule(ctx, rule, e.Path))
		}
	}
	return nil
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
		i := slices.IndexFunc(v.set.Sources, func(s source.Source) bool { return s.Name() == src.Name })
		if i < 0 || !v.wanted(src.Path) {
			continue
		}
		if check, ok := v.set.Sources[i].(source.Verifier); ok {
			v.looked++
			v.faults = append(v.faults, check.Verify(ctx, v.staged.Path(src.Path)))
		}
	}
}

// Loaded is what Load has done.
type Loaded struct {
	// Databases that were loaded by their own programs.
	Databases int
	// Ledgers that the golden has copies of.
	Ledgers []LedgerJoin
}

// Load does what databases need that are restored by their own programs, once their services run, and joins
// our own audit logs. After an error no database has changed.
func (e *Engine) Load(ctx context.Context, r Restore) (Loaded, error) {
	var loaded Loaded
	set, err := e.Set(r.Set)
	if err != nil {
		return loaded, err
	}
	s, g, err := e.find(ctx, Ref{Set: r.Set, Golden: r.Golden, Trust: r.Trust})
	if err != nil {
		return loaded, err
	}
	defer s.Close()
	v := validating{set: set, only: r.Only}
	for _, src := range g.Header().Sources {
		i := slices.IndexFunc(set.Sources, func(s source.Source) bool { return s.Name() == src.Name })
		if i < 0 || !v.wanted(src.Path) {
			continue
		}
		if f, ok := set.Sources[i].(source.Finisher); ok {
			if err := f.After(ctx); err != nil {
				return loaded, fmt.Errorf("load %s: %w", src.Name, err)
			}
			loaded.Databases++
		}
	}
	loaded.Ledgers, err = e.joinLedgers(ctx, set, r, g)
	return loaded, err
}
