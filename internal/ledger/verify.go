package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// VerifyOptions of Verify. The zero value checks the ledger against its own signed heads.
type VerifyOptions struct {
	// Witness holds heads of this ledger that were kept elsewhere.
	Witness []Head
	// Trusted lists the genesis keys, in base64, from which signatures may start. When it is empty
	// the first genesis in the heads file is believed and each further one reported.
	Trusted []string
	// Copy says that the files are a copy: it is then no finding that the key file is missing.
	Copy bool
	// Progress is called with the bytes checked so far, from several goroutines.
	Progress func(done, total int64)
}

// Verify checks every record, the chain and the signed heads. It needs no lock and works beside a
// writer, on the state at the moment of the call. An error means that the check could not be done;
// what is wrong with the ledger is in the report's findings.
func Verify(ctx context.Context, path string, o VerifyOptions) (Report, error) {
	start := time.Now()
	rep := Report{Ledger: path, Findings: []Finding{}}
	// Heads are read before the records: whatever they cover is then surely in the snapshot.
	hs, err := loadHeads(path, o)
	if err != nil {
		return rep, fmt.Errorf("verify ledger: %w", err)
	}
	segs, err := openSegments(path)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || hs.top() <= 0) {
		return rep, fmt.Errorf("verify ledger: %w", err)
	}
	defer closeSegments(segs)

	chunks := chunksOf(segs)
	s := scanner{wanted: hs.wanted(), progress: o.Progress}
	for _, seg := range segs {
		s.total += seg.size
	}
	if err := s.scan(ctx, chunks); err != nil {
		return rep, fmt.Errorf("verify ledger: %w", err)
	}
	runs, sightings := join(chunks)
	rep.Segments, rep.Bytes = len(segs), s.total
	rep.tally(segs, chunks, runs)

	d := diagnosis{rep: &rep, segs: segs, runs: runs, signed: hs.signed, witnessed: hs.witnessed, starts: hs.starts(segs)}
	if err := d.run(ctx); err != nil {
		return rep, fmt.Errorf("verify ledger: %w", err)
	}
	hs.report(&rep, sightings, segs)
	rep.Signed = hs.signed
	if rep.LastSeq > rep.Signed {
		rep.Open = rep.LastSeq - rep.Signed
	}
	rep.OK = len(rep.Findings) == 0
	rep.Elapsed = time.Since(start)
	return rep, nil
}

// tally fills in the counts and the torn tail.
func (r *Report) tally(segs []openSegment, chunks []*chunk, runs []run) {
	var lines int64
	for i, c := range chunks {
		if i > 0 && chunks[i-1].segment != c.segment {
			lines = 0
		}
		lines += c.lines
		if c.incomplete > 0 && !c.sealed {
			r.Torn = &TornTail{Segment: segs[c.segment].path, Line: lines + 1, Bytes: c.incomplete}
		}
	}
	for _, run := range runs {
		r.Records += run.n
	}
	for _, run := range slices.Backward(runs) {
		if !run.bad {
			r.LastSeq, r.LastHash = run.last, run.hash.String()
			break
		}
	}
}
