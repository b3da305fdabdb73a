package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
)

// comparison is what a copy of a ledger and the ledger itself have in common.
type comparison struct {
	// n is how many records of the copy follow each other without a fault, hash is that of the last.
	n    uint64
	hash digest
	// known are the beginnings of their hashes: half of each tells them apart.
	known [][16]byte
	had   []bool

	// have counts those of them that the ledger has, common is the highest.
	have, common uint64
	// conflict is the highest number up to n under which the ledger has another record.
	conflict uint64
	// last is the ledger's highest record with a right hash, 0 where there is none.
	last uint64
	tail liveTail
}

// liveTail is what the ledger has beyond the copy: everything from a line on.
type liveTail struct {
	first   uint64 // number of its first record; 0: there is none
	prev    digest
	segment int
	off     int64
}

// verdict is what a comparison comes to.
type verdict int

const (
	verdictSame     verdict = iota // the ledger has all that the copy has
	verdictJoin                    // the copy has records that the ledger has lost
	verdictDiverged                // each has records that the other contradicts
)

// compareCopy reads the copy and then the ledger. The copy's records count up to the first fault in it.
func compareCopy(ctx context.Context, path, copied string) (*comparison, error) {
	c := &comparison{}
	err := eachLine(ctx, copied, func(l liveLine) bool {
		if !l.good || l.seq != c.n+1 || c.n > 0 && l.prev != c.hash || c.n == 0 && l.prev != (digest{}) {
			return false
		}
		c.n, c.hash = l.seq, l.hash
		c.known = append(c.known, [16]byte(l.hash[:16]))
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read the copy of the ledger: %w", err)
	}
	c.had = make([]bool, c.n)
	var bad *liveLine // the first of a stretch of lines that are no records
	reached := uint64(0)
	err = eachLine(ctx, path, func(l liveLine) bool {
		if !l.good {
			if bad == nil {
				bad = &l
			}
			return true
		}
		c.see(l, bad, reached)
		bad, reached = nil, l.seq
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return c, nil
}

// see takes a record of the ledger; before it stood the line bad, if any, and before that the record
// number reached.
func (c *comparison) see(l liveLine, bad *liveLine, reached uint64) {
	c.last = max(c.last, l.seq)
	switch {
	case l.seq > c.n && c.tail.first == 0:
		c.tail = liveTail{first: l.seq, prev: l.prev, segment: l.segment, off: l.off}
		if bad != nil && (bad.seq > c.n || reached >= c.n) { // what was done to newer records stays to be seen
			c.tail.segment, c.tail.off = bad.segment, bad.off
		}
	case l.seq > c.n:
	case c.known[l.seq-1] != [16]byte(l.hash[:16]):
		c.conflict = max(c.conflict, l.seq)
	case !c.had[l.seq-1]:
		c.had[l.seq-1] = true
		c.have++
		c.common = max(c.common, l.seq)
	}
}

// judge decides. A record that both have vouches for all before it, and so does a newer one that
// remembers the copy's last. Without any, sameGenesis must.
func (c *comparison) judge(sameGenesis bool) verdict {
	if c.have == c.n {
		return verdictSame
	}
	vouched := c.common
	if c.tail.first == c.n+1 {
		if c.tail.prev == c.hash {
			vouched = c.n
		} else if vouched < c.n {
			return verdictDiverged
		}
	}
	if c.conflict > vouched || vouched == 0 && c.last > 0 && !sameGenesis {
		return verdictDiverged
	}
	return verdictJoin
}

// liveLine is a line and where it stands; good says that its hash fits. Of a bad one seq is what it
// claims, 0 where it claims nothing.
type liveLine struct {
	segment    int
	off        int64
	seq        uint64
	prev, hash digest
	good       bool
	bytes      []byte // valid until the next
}

// eachLine calls fn for the lines of a ledger in stored order, until it returns false. A ledger that
// does not exist has none.
func eachLine(ctx context.Context, path string, fn func(liveLine) bool) error {
	segs, err := openSegments(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closeSegments(segs)
	for i, s := range segs {
		var lr lineReader
		lr.reset(s.file, 0, s.size)
		for n := 0; ; n++ {
			if n%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			line, off, ok, err := lr.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			v, known := parseLine(line)
			good := known && sha256.Sum256(line[:v.hashed]) == v.hash && validObject(line)
			if !fn(liveLine{segment: i, off: off, seq: v.seq, prev: v.prev, hash: v.hash, good: good, bytes: line}) {
				return nil
			}
		}
	}
	return nil
}

// joinHeads returns the heads that a joined ledger has: the copy's, and after them those of the ledger
// that are newer. agree says that the two have records in common.
func joinHeads(live, copied []byte, agree bool) []byte {
	if len(copied) == 0 {
		return live
	}
	was := headsOf(copied)
	if len(was) == 0 {
		return live
	}
	last := was[len(was)-1]
	newer, other := -1, false
	is := headsOf(live)
	for i, h := range is {
		switch {
		case bytes.Equal(h.raw, last.raw):
			return append(bytes.Clone(copied), live[h.end:]...)
		case h.valid && h.Genesis != last.Genesis:
			other = true
		case h.valid && h.Epoch > last.Epoch && newer < 0:
			newer = i
		}
	}
	switch {
	case newer >= 0:
		return append(bytes.Clone(copied), live[is[newer].start:]...)
	case other && agree: // the key was lost since, and a new one has begun
		return append(bytes.Clone(copied), live...)
	}
	return copied
}

// rawHead is a line of a heads file, its place and what it says.
type rawHead struct {
	Head
	raw        []byte
	start, end int
	valid      bool
}

// headsOf reads whole lines; those that are no heads are not valid.
func headsOf(data []byte) []rawHead {
	var all []rawHead
	for at := 0; at < len(data); {
		n := bytes.IndexByte(data[at:], '\n')
		if n < 0 {
			break
		}
		h := rawHead{raw: data[at : at+n], start: at, end: at + n + 1}
		var err error
		h.Head, h.valid, err = parseHead(h.raw)
		h.valid = h.valid && err == nil
		all = append(all, h)
		at = h.end
	}
	return all
}

// geneses are the first keys that valid heads name.
func geneses(data []byte) map[string]bool {
	all := map[string]bool{}
	for _, h := range headsOf(data) {
		if h.valid {
			all[h.Genesis] = true
		}
	}
	return all
}
