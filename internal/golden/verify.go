package golden

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

// VerifyOrder says what is to be verified.
type VerifyOrder struct {
	Set string
	// Golden is a whole id; "" with All.
	Golden string
	// Paths that are needed; none: all of the golden.
	Paths []string
	// All verifies the whole store, and what each stored block decompresses to; Repair mends it as far as there is
	// parity. Salvage is for people to ask for: it gives up, with Repair, what is damaged beyond that.
	All, Repair, Salvage bool
	Trust                []string
	// Plan counts what would be read.
	Plan bool
}

// Verified is what a verification found.
type Verified struct {
	Goldens int
	Files   int64
	// Bytes that were read, as they are stored.
	Bytes int64
	// Damaged counts the places that are damaged still, Repaired those that are not any more. Damage has
	// the first of both.
	Damaged, Repaired int
	Damage            []shivx.GoldenDamage
}

// mostDamage is how many places are named.
const mostDamage = 100

// Verify compares stored bytes with what was signed. Damage is a result, not an error.
func (e *Engine) Verify(ctx context.Context, o VerifyOrder, tell func(shivx.GoldenProgress)) (Verified, error) {
	if o.All {
		return e.scrub(ctx, o, tell)
	}
	g, done, err := e.findLocked(ctx, Ref{Set: o.Set, Golden: o.Golden, Trust: o.Trust})
	if err != nil {
		return Verified{}, err
	}
	defer func() { _ = done() }()
	v := Verified{Goldens: 1, Files: g.Header().Files}
	need, err := v.need(ctx, g, o.Paths)
	if err != nil || o.Plan {
		return v, err
	}
	var total int64
	if need == nil && tell != nil { // of a part of it is not known before how much is stored
		if total, err = g.Size(ctx); err != nil {
			return v, err
		}
	}
	m := e.meter(shivx.GoldenStepVerify, tell, total, 0)
	err = g.Check(ctx, need, func(n int64) { v.Bytes += n; m.at(v.Bytes, 0) })
	if err == nil && need == nil {
		e.checked.Store(&checkedGolden{g.Header().ID, time.Now()})
	}
	if damage, ok := errors.AsType[*store.DamageError](err); ok {
		v.Damaged = len(damage.Damages)
		for _, d := range damage.Damages[:min(mostDamage, v.Damaged)] {
			v.Damage = append(v.Damage, shivx.GoldenDamage{Golden: g.Header().ID, Object: d.Name, What: d.String()})
		}
		return v, nil
	}
	return v, err
}

// checkedGolden is a golden of which all was verified.
type checkedGolden struct {
	id string
	at time.Time
}

// checkHolds is for how long a restore relies on a verification before it.
const checkHolds = 15 * time.Minute

// wasChecked says whether this process has just verified all of a golden.
func (e *Engine) wasChecked(id string) bool {
	c := e.checked.Load()
	return c != nil && c.id == id && time.Since(c.at) < checkHolds
}

// need lists the blocks of some files, nil for all of the golden.
func (v *Verified) need(ctx context.Context, g *store.Golden, paths []string) ([]format.Hash, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	v.Files = 0
	need := []format.Hash{}
	linked := map[string]bool{}
	for pass := range 2 { // a hard link's content stands with the entry that it is another name of
		for e, err := range g.Entries(ctx) {
			if err != nil {
				return nil, err
			}
			wanted := slices.ContainsFunc(paths, func(p string) bool { return format.Below(p, e.Path) })
			switch {
			case pass == 0 && wanted && e.Type == format.TypeHardlink:
				linked[e.Link] = true
			case pass == 1 && e.Type == format.TypeFile && (wanted || linked[e.Path]):
				v.Files++
				for i := range e.BlockCount() {
					need = append(need, e.Block(i))
				}
			}
		}
	}
	return need, nil
}
