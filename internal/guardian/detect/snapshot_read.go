package detect

import "encoding/binary"

// source reads a snapshot; once it is bad it gives zeros.
type source struct {
	b   []byte
	bad bool
}

func (s *source) fail() { s.bad, s.b = true, nil }

func (s *source) byte() byte {
	if len(s.b) == 0 {
		s.fail()
		return 0
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c
}

func (s *source) varint() int64 {
	v, n := binary.Varint(s.b)
	if n <= 0 {
		s.fail()
		return 0
	}
	s.b = s.b[n:]
	return v
}

// number reads one that is at most most.
func (s *source) number(most uint64) uint64 {
	v, n := binary.Uvarint(s.b)
	if n <= 0 || v > most {
		s.fail()
		return 0
	}
	s.b = s.b[n:]
	return v
}

func (s *source) uint64() uint64 {
	if b := s.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (s *source) word() uint32 { return uint32(s.number(1<<32 - 1)) }

func (s *source) bytes(n int) []byte {
	if n > len(s.b) {
		s.fail()
		return nil
	}
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

const maxNanos = 1<<63 - 1

// loadEntry reads one entry and puts it at the front of its list.
func (d *Detector) loadEntry(in *source) {
	k, r, flags, streak, probes := kind(in.byte()), rank(in.byte()), in.byte(), in.byte(), in.byte()
	key, last, first := in.number(1<<64-1), in.number(maxNanos), in.number(maxNanos)
	saved := entry{key: key, kind: k}
	if in.bad || k < source4 || k > network6 || r >= ranks || !saved.proper() || d.table.find(key, k) != 0 {
		in.fail()
		return
	}
	i := d.enter(key, k, int64(last))
	if i == 0 {
		in.fail()
		return
	}
	d.working[0] = i
	e := d.table.at(i)
	e.first, e.streak, e.probes = int64(first), min(streak, lateMany), min(probes, badTries)
	if r == rankPinned {
		r, flags = rankNear, flags|flagHeld
	}
	e.points, e.missed, e.hits = in.word(), in.word(), in.word()
	d.loadFew(in, e)
	d.loadRing(in, e)
	d.loadMarks(in, e)
	d.loadRecords(in, e)
	d.loadPaths(in, e)
	d.loadNames(in, e)
	d.unlink(e)
	d.pushFront(i, r)
	e.flags = flags & (flagAgain | flagHeld)
	d.working[0] = 0
}

// proper says whether the key is one of its kind.
func (e *entry) proper() bool {
	key, k, counted := keyOfPrefix(e.prefix())
	return counted && key == e.key && k == e.kind
}

func (d *Detector) loadFew(in *source, e *entry) {
	n := in.number(uint64(len(e.few)))
	for i := range n {
		e.few[i] = uint16(in.number(1<<16 - 1))
		e.asked += uint32(e.few[i] & fewMax)
	}
	e.nfew = uint8(n)
}

func (d *Detector) loadRing(in *source, e *entry) {
	if in.byte() == 0 || in.bad {
		return
	}
	if e.nfew > 0 || !d.makeRing(e) {
		in.fail()
		return
	}
	for i := e.ring; i != 0; i = d.blocks.at(i).next {
		for w := range d.blocks.at(i).words {
			n := in.word()
			d.blocks.at(i).words[w] = n
			e.asked += n>>16 + n&ringMax
		}
	}
}

func (d *Detector) loadMarks(in *source, e *entry) {
	if in.byte() == 0 || in.bad {
		return
	}
	if e.marks = d.take(); e.marks == 0 {
		in.fail()
		return
	}
	for w := range d.blocks.at(e.marks).words[:2*metrics] {
		d.blocks.at(e.marks).words[w] = in.word()
	}
}

// loadRecords keeps the newest of them, as many as the rules need.
func (d *Detector) loadRecords(in *source, e *entry) {
	n := int(in.number(2 * mostCounted))
	records := d.space[:0]
	for range n {
		lo, hi, id := in.word(), in.word(), in.word()
		if in.bad {
			return
		}
		at := fullTime(uint64(lo)|uint64(hi>>16)<<32, micros(e.last))
		records = append(records, record{at: at, n: uint16(hi), id: id})
	}
	d.space = records[:0]
	if !e.kind.network() {
		records = records[max(0, len(records)-d.maxRecords-2*recordsBlock):]
	}
	d.store(e, records, 0)
}

func (d *Detector) loadPaths(in *source, e *entry) {
	for range in.number(maxPathBlocks * blockWords) {
		if id := in.word(); in.bad {
			return
		} else if d.meet(e, id) && e.paths == 0 {
			in.fail()
			return
		}
	}
}

func (d *Detector) loadNames(in *source, e *entry) {
	at := &e.names
	for range namesKept + 1 {
		n := in.number(nameMax + 1)
		if n == 0 {
			return
		}
		account, name := in.word(), in.bytes(int(n)-1)
		i := d.take()
		if in.bad || i == 0 {
			break
		}
		*at = i
		b := d.blocks.at(i)
		b.words[0] = account
		putName(b, name)
		at = &b.next
	}
	in.fail()
}
