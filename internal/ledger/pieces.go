package ledger

import (
	"context"
	"slices"
)

// heaviest marks the strictly ascending pieces that together hold the most records; between equals
// it prefers those that link by hash.
func heaviest(pieces []run) []bool {
	weight := make([]int64, len(pieces))
	from := make([]int, len(pieces))
	best := -1
	for i, p := range pieces {
		weight[i], from[i] = 0, -1
		if (run{}).links(p) {
			weight[i] = 1
		}
		for j, q := range pieces[:i] {
			w := weight[j]
			if q.links(p) {
				w++
			}
			if q.last < p.first && w > weight[i] {
				weight[i], from[i] = w, j
			}
		}
		weight[i] += 4 * p.n
		if best < 0 || weight[i] > weight[best] {
			best = i
		}
	}
	on := make([]bool, len(pieces))
	for i := best; i >= 0; i = from[i] {
		on[i] = true
	}
	return on
}

// split cuts good runs where others begin or end, so that any two cover the same records or none
// in common, and reads the hashes at the cuts.
func (d *diagnosis) split(ctx context.Context) ([]run, error) {
	var cuts []uint64
	for _, r := range d.runs {
		if !r.bad {
			cuts = append(cuts, r.first, r.last+1)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var pieces []run
	for _, r := range d.runs {
		i, _ := slices.BinarySearch(cuts, r.first+1)
		for !r.bad && i < len(cuts) && cuts[i] <= r.last && len(pieces) < maxPieces {
			left := r
			left.last, left.n = cuts[i]-1, int64(cuts[i]-r.first)
			left.hash = digest{}
			r.line, r.n, r.first = r.line+left.n, r.n-left.n, cuts[i]
			r.prev = digest{}
			pieces = append(pieces, left)
			i++
		}
		pieces = append(pieces, r)
	}
	if len(pieces) == len(d.runs) {
		return pieces, nil
	}
	return pieces, d.readCuts(ctx, pieces)
}

// readCuts fills in the hashes at the cuts that split has made.
func (d *diagnosis) readCuts(ctx context.Context, pieces []run) error {
	for i, s := range d.segs {
		mine := slices.IndexFunc(pieces, func(p run) bool { return p.segment == i && p.hash == digest{} && !p.bad })
		if mine < 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var lr lineReader
		lr.reset(s.file, 0, s.size)
		for n := int64(1); mine < len(pieces) && pieces[mine].segment == i; n++ {
			line, _, ok, err := lr.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			p := &pieces[mine]
			if n < p.line+p.n-1 {
				continue
			}
			if v, ok := parseLine(line); ok && p.hash == (digest{}) && !p.bad {
				p.hash = v.hash
				if mine+1 < len(pieces) && pieces[mine+1].prev == (digest{}) && !pieces[mine+1].bad {
					pieces[mine+1].prev = v.hash
				}
			}
			mine++
		}
	}
	return nil
}
