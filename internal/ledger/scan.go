package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
)

// chunkSize is how much of a file one core checks at a time.
const chunkSize = 4 << 20

// run is a stretch of lines of one segment that follow each other as they should. In a bad run,
// each line is not what was written; known says whether its sequence numbers could be read.
type run struct {
	segment int
	line    int64 // of the first line, from 1
	n       int64
	first   uint64
	last    uint64
	prev    digest // the first record's prev
	hash    digest // the last record's hash
	bad     bool
	known   bool
	// like says that an unknown line looks like what is left of a record.
	like bool
}

// sighting is a line with a sequence number about which a head says something.
type sighting struct {
	seq     uint64
	hash    digest
	bad     bool
	segment int
	line    int64
}

// chunk is a piece of a segment, and what was found in it. It owns the lines that start in it.
type chunk struct {
	segment    int
	sealed     bool
	file       *os.File
	from, to   int64
	size       int64
	lines      int64
	runs       []run
	sightings  []sighting
	incomplete int64
	err        error
}

// scanner checks every line of all segments by itself and by its neighbour, on all cores.
type scanner struct {
	wanted   []uint64 // sorted: sequence numbers of the heads
	progress func(done, total int64)
	total    int64
	done     atomic.Int64
}

func chunksOf(segs []openSegment) []*chunk {
	var chunks []*chunk
	for i, s := range segs {
		for from := int64(0); from < s.size; from += chunkSize {
			chunks = append(chunks, &chunk{segment: i, sealed: s.sealed, file: s.file, from: from, to: min(from+chunkSize, s.size), size: s.size})
		}
	}
	return chunks
}

// scan returns the runs and sightings of all segments in stored order.
func (s *scanner) scan(ctx context.Context, chunks []*chunk) error {
	work := make(chan *chunk)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(chunks)) {
		workers.Go(func() {
			var lr lineReader
			for c := range work {
				c.err = s.scanChunk(c, &lr)
				if done := s.done.Add(c.to - c.from); s.progress != nil {
					s.progress(done, s.total)
				}
			}
		})
	}
	for _, c := range chunks {
		if ctx.Err() != nil {
			break
		}
		work <- c
	}
	close(work)
	workers.Wait()
	for _, c := range chunks {
		if c.err != nil {
			return c.err
		}
	}
	return ctx.Err()
}

func (s *scanner) scanChunk(c *chunk, lr *lineReader) error {
	lr.reset(c.file, c.from, c.size)
	if c.from > 0 {
		// The line that reaches into this chunk belongs to the one before.
		lr.reset(c.file, c.from-1, c.size)
		if _, _, ok, err := lr.next(); err != nil || !ok {
			return err
		}
	}
	for lr.base < c.to {
		line, _, ok, err := lr.next()
		if err != nil {
			return err
		}
		if !ok {
			if c.incomplete = c.size - lr.base; c.sealed {
				c.lines++ // only a complete file is sealed
				c.see(view{}, true, false, true)
			}
			return nil
		}
		c.lines++
		s.scanLine(c, line)
	}
	return nil
}

func (s *scanner) scanLine(c *chunk, line []byte) {
	v, known := parseLine(line)
	bad := !known || sha256.Sum256(line[:v.hashed]) != v.hash || !validObject(line)
	like := known || bytes.HasPrefix(line, []byte(seqMark)) || bytes.Contains(line, []byte(hashMark))
	c.see(v, bad, known, like)
	if !known {
		return
	}
	if i := sort.Search(len(s.wanted), func(i int) bool { return s.wanted[i] >= v.seq }); i < len(s.wanted) && s.wanted[i] == v.seq {
		c.sightings = append(c.sightings, sighting{seq: v.seq, hash: v.hash, bad: bad, segment: c.segment, line: c.lines})
	}
}

// see adds a line to the current run or begins a new one.
func (c *chunk) see(v view, bad, known, like bool) {
	if n := len(c.runs); n > 0 {
		r := &c.runs[n-1]
		follows := r.bad == bad && r.known == known && v.seq == r.last+1 && (bad || v.prev == r.hash)
		if !known {
			follows = !r.known && r.like == like
		}
		if follows {
			r.last, r.hash, r.n = v.seq, v.hash, r.n+1
			return
		}
	}
	c.runs = append(c.runs, run{
		segment: c.segment, line: c.lines, n: 1, first: v.seq, last: v.seq, prev: v.prev, hash: v.hash, bad: bad, known: known, like: like,
	})
}

// join puts the chunks' results together, with line numbers that count from the segment's start.
func join(chunks []*chunk) (runs []run, sightings []sighting) {
	var before int64
	for i, c := range chunks {
		if i > 0 && chunks[i-1].segment != c.segment {
			before = 0
		}
		for _, s := range c.sightings {
			s.line += before
			sightings = append(sightings, s)
		}
		for _, r := range c.runs {
			r.line += before
			if n := len(runs); n > 0 && runs[n-1].joins(r) {
				runs[n-1].last, runs[n-1].hash = r.last, r.hash
				runs[n-1].n += r.n
				continue
			}
			runs = append(runs, r)
		}
		before += c.lines
	}
	return runs, sightings
}

// joins says whether b goes on where a ended, in the same file.
func (a run) joins(b run) bool {
	return a.segment == b.segment && !a.bad && !b.bad && a.links(b)
}

// links says whether b's first record follows a's last.
func (a run) links(b run) bool { return b.first == a.last+1 && b.prev == a.hash }
