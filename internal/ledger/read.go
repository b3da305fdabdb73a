package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/shivx/shivx"
)

// Read calls fn with every record whose sequence number is from or higher, in stored order, over
// all segments. It needs no lock. It ends with fn's error, if there is one. A line that is no
// record, or whose hash is wrong, is passed over; after all others were read, an error that wraps
// ErrDamaged names the first. Whether the chain holds is for Verify to say.
func Read(path string, from uint64, fn func(Record) error) error {
	segs, err := openSegments(path)
	if err != nil {
		return err
	}
	defer closeSegments(segs)
	var damage error
	for _, s := range segs {
		if s.sealed && s.last < from {
			continue
		}
		var lr lineReader
		lr.reset(s.file, 0, s.size)
		for n := 1; ; n++ {
			line, _, ok, err := lr.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			rec, ok := checkedRecord(line)
			if !ok && damage == nil {
				damage = shivx.Hint(fmt.Errorf("%s line %d: %w", s.path, n, ErrDamaged), "run `shivx ledger verify`")
			}
			if !ok || rec.Seq < from {
				continue
			}
			if err := fn(rec); err != nil {
				return err
			}
		}
	}
	return damage
}

// checkedRecord copies a line into a Record if its own hash is right.
func checkedRecord(line []byte) (Record, bool) {
	v, ok := parseLine(line)
	if !ok || sha256.Sum256(line[:v.hashed]) != v.hash {
		return Record{}, false
	}
	return toRecord(bytes.Clone(line), v), true
}

// Tail returns the last n records in stored order. Damaged lines are passed over.
func Tail(path string, n int) ([]Record, error) {
	segs, err := openSegments(path)
	if err != nil {
		return nil, err
	}
	defer closeSegments(segs)
	var recs []Record
	for _, s := range slices.Backward(segs) {
		end, err := lastNewline(s.file, s.size)
		if err != nil {
			return nil, err
		}
		for end > 0 && len(recs) < n {
			start, err := lastNewline(s.file, end-1)
			if err != nil {
				return nil, err
			}
			if size := end - 1 - start; size <= MaxRecord {
				line := make([]byte, size)
				if _, err := s.file.ReadAt(line, start); err != nil {
					return nil, fmt.Errorf("read ledger: %w", err)
				}
				if rec, ok := checkedRecord(line); ok {
					recs = append(recs, rec)
				}
			}
			end = start
		}
	}
	slices.Reverse(recs)
	return recs, nil
}
