package golden

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/signing"
	"github.com/shivx/shivx/internal/golden/store"
)

// scrub verifies the whole store.
func (e *Engine) scrub(ctx context.Context, o VerifyOrder, tell func(shivx.GoldenProgress)) (Verified, error) {
	trust, err := signing.ParseKeys(o.Trust)
	if err != nil {
		return Verified{}, err
	}
	var s *store.Store
	var repaired []string
	if o.Repair && !o.Plan {
		s, repaired, err = e.openForRepair(ctx, trust...)
	} else {
		s, err = e.open(ctx, false, trust...)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Verified{}, nil // nothing was stored yet
	}
	if err != nil {
		return Verified{}, err
	}
	defer s.Close()
	list, err := s.List(ctx, "")
	if err != nil {
		return Verified{}, err
	}
	v := Verified{Goldens: len(list)}
	for _, i := range list {
		v.Files += i.Header.Files
	}
	if o.Plan {
		return v, nil
	}
	var total int64
	m := e.meter(shivx.GoldenStepVerify, tell, 0, 0)
	m.total = func() (int64, int64) { return total, 0 }
	r, err := s.Scrub(ctx, store.ScrubOptions{Repair: o.Repair, Salvage: o.Salvage, Parity: parityOptions(e.o.Parity), Progress: func(p store.ScrubProgress) {
		total = p.AllBytes
		m.at(p.Bytes, 0)
	}})
	if err != nil {
		return Verified{}, err
	}
	v.Bytes = r.Bytes
	for _, name := range repaired {
		v.add(store.Problem{Kind: store.ProblemDamaged, Name: name, Repaired: true})
	}
	for _, p := range r.Problems {
		v.add(p)
	}
	return v, nil
}

// add counts a problem. What no golden needs, and what is only not trusted, is no damage.
func (v *Verified) add(p store.Problem) {
	switch p.Kind {
	case store.ProblemDamaged, store.ProblemUnreadable, store.ProblemMissing, store.ProblemParity:
	default:
		return
	}
	if p.Repaired {
		v.Repaired++
	} else {
		v.Damaged++
	}
	if len(v.Damage) >= mostDamage {
		return
	}
	d := shivx.GoldenDamage{Object: p.Name, What: string(p.Kind) + ": " + p.Name, Repaired: p.Repaired}
	if p.Salvaged {
		d.What += "; what is whole of it was saved: back up again, which stores what is lost"
	}
	for i, place := range p.Damages {
		if i < 3 {
			d.What += "; " + place.String()
		}
	}
	if len(p.Goldens) > 0 {
		d.Golden, d.Path = p.Goldens[0].ID, strings.Join(p.Goldens[0].Files, ", ")
	}
	v.Damage = append(v.Damage, d)
}
