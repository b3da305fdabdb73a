package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// repair repairs what was found: objects first, then their parity.
func (k *scrub) repair(ctx context.Context) (err error) {
	release, err := k.s.Lock(ctx, Exclusive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	for _, parity := range []bool{false, true} {
		for i := range k.report.Problems {
			p := &k.report.Problems[i]
			damage := p.Kind.damage()
			if parity == damage || !damage && p.Kind != ProblemParity {
				continue
			}
			if damage {
				p.Err = k.repairObject(ctx, p)
			} else {
				p.Err = k.repairSidecar(ctx, p.Name)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.Repaired = p.Err == nil
		}
		if !parity && k.o.Salvage {
			if err := k.salvage(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// salvage writes anew what is whole of packs that cannot be repaired, and puts them into quarantine.
// Otherwise the next backup would find their damaged blocks in their indexes, and lean on them. What cannot
// be read is not lost yet, so that packs with such places are left alone.
func (k *scrub) salvage(ctx context.Context) error {
	c, err := k.s.census(ctx)
	if err != nil || len(c.blind) > 0 {
		return err
	}
	r := &PruneResult{Plan: &PrunePlan{census: c, stay: c.goldens}}
	var packs []PackFate
	var problems []*Problem
	for i := range k.report.Problems {
		p := &k.report.Problems[i]
		pack, ok := parsePackName(p.Name)
		if !ok || p.Kind != ProblemDamaged || p.Repaired || !k.salvable(ctx, c, pack) {
			continue
		}
		// Once more: salvage forgets what was not as it was written.
		if p.Damages, err = k.s.checkPackDeep(ctx, pack, nil, func(int64) {}); err != nil {
			return err
		}
		if p.Repaired = len(p.Damages) == 0; p.Repaired || !proven(p.Damages) {
			continue
		}
		packs, problems = append(packs, PackFate{Pack: pack}), append(problems, p)
	}
	old, err := k.s.salvage(ctx, r, packs)
	if err != nil {
		return fmt.Errorf("save what is whole of damaged packs: %w", err)
	}
	for i, pack := range packs {
		if !slices.Contains(old, pack.Pack) {
			continue
		}
		if err := k.s.quarantine(ctx, packName(pack.Pack)); err != nil {
			return err
		}
		problems[i].Salvaged = true
	}
	return nil
}

// salvable says whether the index of a pack is whole, and all goldens that need it can be signed anew.
func (k *scrub) salvable(ctx context.Context, c *census, pack format.Hash) bool {
	if k.s.sign == nil || k.s.locked {
		return false
	}
	if _, err := k.s.packIndex(ctx, pack); err != nil {
		return false
	}
	for _, g := range c.goldens {
		if slices.Contains(g.packs, c.numbers[pack]) && (!g.own || g.err != nil) {
			return false
		}
	}
	return true
}

func (k *scrub) repairObject(ctx context.Context, p *Problem) error {
	damages, err := k.s.checkObject(ctx, p.Name, func(int64) {})
	if err != nil {
		return err
	}
	if _, _, golden := parseGoldenName(p.Name); golden && len(damages) == 0 {
		return shivx.Hint(fmt.Errorf("%w: blocks that it needs are in none of its packs", ErrUnrepairable), "back up again, and remove this golden")
	}
	if len(damages) == 0 {
		return nil // it could not be read, and can be now
	}
	err = k.s.repair(ctx, p.Name)
	switch {
	case errors.Is(err, ErrUnrepairable) && !proven(damages):
		return shivx.Hint(err, "it cannot be read, and may be whole: look after the disk or the network of the store, then run the same command again")
	case errors.Is(err, ErrUnrepairable):
		return shivx.Hint(err, "shivx golden scrub --repair by hand saves what is whole of it, and a new backup stores again what is lost; restore what is damaged from an older golden or another copy of the store")
	}
	return err
}

// repairSidecar writes parity anew; that of an object which is not there stays, unless the object is
// needed by nobody.
func (k *scrub) repairSidecar(ctx context.Context, name string) error {
	subject, ok := parityOf(name)
	if !ok || !protectable(subject) {
		return k.s.quarantine(ctx, name)
	}
	object, err := k.s.backend.Open(ctx, subject)
	if errors.Is(err, fs.ErrNotExist) {
		return shivx.Hint(fmt.Errorf("%s is not there", subject), "shivx golden prune removes parity of what is gone")
	}
	if err != nil {
		return err
	}
	_ = object.Close()
	if damages, err := k.s.checkObject(ctx, subject, func(int64) {}); err != nil || len(damages) > 0 {
		return errors.Join(err, fmt.Errorf("%s is damaged itself", subject))
	}
	if err := k.s.backend.Remove(ctx, name); err != nil {
		return err
	}
	o := ParityOptions{}
	if k.o.Parity != nil {
		o = *k.o.Parity
	}
	if o, err = o.normal(); err != nil {
		return err
	}
	return k.s.protectBatch(ctx, []ObjectInfo{{Name: subject, Size: 1}}, o, &ParityResult{})
}
