package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
)

// headLine is a line of the heads file and whether it is a head with a right signature.
type headLine struct {
	Head
	line  int64
	valid bool
}

// headSet is everything that is known about heads: those beside the ledger and those of witnesses.
type headSet struct {
	path   string
	opts   VerifyOptions
	lines  []headLine
	keys   [2]keyState // before and after the heads were read
	keyErr error
	signed uint64
	// witnessed is the highest sequence number a witness knows.
	witnessed uint64
}

// loadHeads reads key, heads and key again, so that a writer at work is not taken for an attacker.
func loadHeads(path string, o VerifyOptions) (*headSet, error) {
	hs := &headSet{path: path, opts: o}
	hs.keys[0], hs.keyErr = publicKey(path + ".key")
	data, err := os.ReadFile(path + ".heads")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read heads: %w", err)
	}
	if hs.keyErr == nil {
		hs.keys[1], hs.keyErr = publicKey(path + ".key")
	}
	hs.parse(data)
	for _, h := range hs.lines {
		if h.valid {
			hs.signed = max(hs.signed, h.Seq)
		}
	}
	for _, w := range o.Witness {
		hs.witnessed = max(hs.witnessed, w.Seq)
	}
	return hs, nil
}

// publicKey reads the key file and keeps only the public part, in Seed's place.
func publicKey(path string) (keyState, error) {
	k, err := readKey(path)
	if err != nil {
		return k, err
	}
	pub := public(k.Seed)
	clear(k.Seed)
	clear(k.Next)
	k.Seed, k.Next = []byte(pub), nil
	return k, nil
}

// parse reads the complete lines on all cores: a signature takes longer than a thousand hashes.
func (hs *headSet) parse(data []byte) {
	if end := bytes.LastIndexByte(data, '\n'); end >= 0 {
		raw := bytes.Split(data[:end], []byte{'\n'})
		hs.lines = make([]headLine, len(raw))
		var workers sync.WaitGroup
		cores := runtime.GOMAXPROCS(0)
		for w := range cores {
			workers.Go(func() {
				for i := w; i < len(raw); i += cores {
					h, valid, err := parseHead(raw[i])
					hs.lines[i] = headLine{Head: h, line: int64(i + 1), valid: valid && err == nil}
				}
			})
		}
		workers.Wait()
	}
}

// top is the highest sequence number anybody knows.
func (hs *headSet) top() uint64 { return max(hs.signed, hs.witnessed) }

func (hs *headSet) wanted() []uint64 {
	var seqs []uint64
	for _, h := range hs.lines {
		if h.valid {
			seqs = append(seqs, h.Seq)
		}
	}
	for _, w := range hs.opts.Witness {
		seqs = append(seqs, w.Seq)
	}
	slices.Sort(seqs)
	return slices.Compact(seqs)
}

// starts returns the sequence numbers with which files begin, by signed heads and by names.
func (hs *headSet) starts(segs []openSegment) map[uint64]bool {
	starts := map[uint64]bool{}
	for _, h := range hs.lines {
		if h.valid {
			starts[h.Segment] = true
		}
	}
	for _, s := range segs {
		if s.sealed {
			starts[s.first], starts[s.last+1] = true, true
		}
	}
	return starts
}

// report adds what the heads say to the report.
func (hs *headSet) report(rep *Report, sightings []sighting, segs []openSegment) {
	rep.Heads = len(hs.lines)
	hs.checkChain(rep)
	hs.checkWitness(rep)
	if !hs.opts.Copy {
		hs.checkKey(rep)
	}
	seen := map[uint64][]sighting{}
	for _, s := range sightings {
		seen[s.seq] = append(seen[s.seq], s)
	}
	var own []Head
	for _, h := range hs.lines {
		if h.valid {
			own = append(own, h.Head)
		}
	}
	checkRewritten(rep, own, "was signed", seen, segs)
	checkRewritten(rep, slices.Clone(hs.opts.Witness), "a witness has kept", seen, segs)
}

// checkChain follows the keys from head to head.
func (hs *headSet) checkChain(rep *Report) {
	var prev *headLine
	broken := false
	for i := range hs.lines {
		h := &hs.lines[i]
		f := Finding{Segment: hs.path + ".heads", Line: h.line, Seq: h.Seq}
		if !h.valid {
			f.Kind, f.Message = KindSignature, "this line is not a head with a right signature"
			rep.add(f)
			broken = true
			continue
		}
		if rep.Genesis == "" {
			rep.Genesis = h.Genesis
		}
		if f.Kind, f.Message = hs.step(prev, h, broken); f.Kind != "" {
			rep.add(f)
		}
		prev, broken = h, false
	}
	if len(hs.lines) == 0 && (rep.Records > 0 || hs.witnessed > 0) && (hs.keyErr != nil || hs.keys[0].Epoch > 0 || hs.witnessed > 0) {
		rep.add(Finding{Kind: KindHeadsMissing, Segment: hs.path + ".heads", Message: "there are records, but no signed head is left"})
	}
}

// step judges a head by the one before.
func (hs *headSet) step(prev, h *headLine, broken bool) (Kind, string) {
	starts := h.Epoch == 0 && h.Key == h.Genesis
	if prev == nil || prev.Genesis != h.Genesis {
		trusted := slices.Contains(hs.opts.Trusted, h.Genesis)
		switch {
		case !trusted && len(hs.opts.Trusted) > 0:
			return KindGenesis, "the signatures start from a key that is not trusted: " + h.Genesis
		case !trusted && prev != nil:
			return KindGenesis, "the signatures start anew here, from the key " + h.Genesis
		case !starts && !broken && h.Epoch > 0:
			return KindHeadsMissing, fmt.Sprintf("the heads before epoch %d are missing", h.Epoch)
		case !starts && !broken:
			return KindSignature, "this head was not signed by the genesis key it names"
		}
		return "", ""
	}
	switch {
	case broken, h.Epoch == prev.Epoch+1 && h.Key == prev.Next:
		return "", ""
	case h.Epoch > prev.Epoch+1:
		return KindHeadsMissing, fmt.Sprintf("the heads of epochs %d to %d are missing", prev.Epoch+1, h.Epoch-1)
	}
	return KindSignature, fmt.Sprintf("the chain of keys is broken: the head before named another key for epoch %d", prev.Epoch+1)
}

// checkWitness compares genesis and epochs with the heads kept elsewhere.
func (hs *headSet) checkWitness(rep *Report) {
	last := map[string]uint64{}
	for _, h := range hs.lines {
		if h.valid {
			last[h.Genesis] = max(last[h.Genesis], h.Epoch)
		}
	}
	reported := map[string]bool{}
	for _, w := range hs.opts.Witness {
		epoch, known := last[w.Genesis]
		f := Finding{Segment: hs.path + ".heads", Seq: w.Seq}
		switch {
		case reported[w.Genesis] || len(hs.lines) == 0:
			continue
		case !known:
			f.Kind, f.Message = KindGenesis, "a witness knows signatures from the key "+w.Genesis+", which the ledger does not have"
		case epoch < w.Epoch && w.Seq <= rep.LastSeq:
			f.Kind, f.Message = KindHeadsMissing, fmt.Sprintf("a witness knows the head of epoch %d; the last one here is of epoch %d", w.Epoch, epoch)
		default:
			continue
		}
		reported[w.Genesis] = true
		rep.add(f)
	}
}

// checkKey compares the key file with the last head: its epoch tells how many heads there were.
func (hs *headSet) checkKey(rep *Report) {
	f := Finding{Kind: KindKeyMissing, Segment: hs.path + ".key"}
	if hs.keyErr != nil {
		missing := errors.Is(hs.keyErr, fs.ErrNotExist) || errors.Is(hs.keyErr, errBadKey)
		if rep.KeyChecked = missing; missing && len(hs.lines) > 0 {
			f.Message = "the key file is missing or of no use; heads after the last one could have been removed"
			rep.add(f)
		}
		return
	}
	rep.KeyChecked = true
	f.Segment = hs.path + ".heads"
	before, after := hs.keys[0], hs.keys[1]
	var last, named *headLine
	for i := range hs.lines {
		if h := &hs.lines[i]; h.valid && h.Genesis == before.Genesis {
			if last = h; h.Epoch+1 == before.Epoch {
				named = h
			}
		}
	}
	switch {
	case before.Epoch > 0 && (last == nil || last.Epoch+1 < before.Epoch):
		f.Kind, f.Message = KindHeadsMissing, fmt.Sprintf("the key has signed %d heads; the last ones are missing", before.Epoch)
	case last != nil && after.Genesis == before.Genesis && last.Epoch > after.Epoch:
		f.Kind, f.Message = KindSignature, fmt.Sprintf("the key file is an old one: it is of epoch %d, the last head of epoch %d", after.Epoch, last.Epoch)
	case named != nil && named.Next != string(before.Seed):
		f.Kind, f.Message = KindSignature, fmt.Sprintf("the key file holds another key than the last head named for epoch %d", before.Epoch)
	default:
		return
	}
	rep.add(f)
}

// checkRewritten compares the hashes that heads state with the records' own.
func checkRewritten(rep *Report, heads []Head, who string, seen map[uint64][]sighting, segs []openSegment) {
	var good uint64
	slices.SortStableFunc(heads, func(a, b Head) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, h := range heads {
		var other *sighting
		same := h.Seq == 0
		for _, s := range seen[h.Seq] {
			same = same || s.hash.String() == h.Hash
			if !s.bad {
				other = &s
			}
		}
		if same {
			good = h.Seq
			continue
		}
		if other == nil || explained(rep, h.Seq) {
			continue
		}
		rep.add(Finding{
			Kind: KindRewritten, Segment: segs[other.segment].path, Line: other.line, Seq: good + 1, To: h.Seq,
			Message: fmt.Sprintf("%s differs from what %s: one or more of them was changed and the chain recomputed, or an old copy was continued",
				span(good+1, h.Seq), who),
		})
		return
	}
}

// explained says whether a record was already found to be edited.
func explained(rep *Report, seq uint64) bool {
	return slices.ContainsFunc(rep.Findings, func(f Finding) bool { return f.Kind == KindEdited && f.Seq <= seq && seq <= f.To })
}
