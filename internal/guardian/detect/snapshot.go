package detect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/shivx/shivx"
)

// A snapshot is the magic, the version, the secret, the clocks, the number of entries, the entries, and the CRC-32C
// of all that. Numbers are varints. The entries of each list stand from the end of the list to its
// front, so that adding them one by one makes the list anew.

const (
	snapshotMagic   = "SXGD"
	snapshotVersion = 2
	// snapshotEntries and snapshotBytes bound it.
	snapshotEntries = 50_000
	snapshotBytes   = 64 << 20
)

// errSnapshot is what every damaged snapshot gives.
var errSnapshot = errors.New("the snapshot is damaged")

// Save writes what is known of the sources that can still change a decision, those nearest to a
// threshold first if there are too many. A detector with the same rules that loads it decides from then
// on as this one does.
func (d *Detector) Save(w io.Writer) error {
	out := append([]byte(snapshotMagic), snapshotVersion)
	for _, word := range d.secret {
		out = binary.LittleEndian.AppendUint64(out, word)
	}
	out = binary.AppendVarint(out, d.seen)
	out = binary.AppendVarint(out, d.clock.now)
	out = binary.AppendVarint(out, int64(d.clock.far))
	chosen := d.toSave()
	out = binary.AppendUvarint(out, uint64(len(chosen)))
	for _, i := range chosen {
		out = d.appendEntry(out, d.table.at(i))
	}
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)))
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("write the snapshot of sources: %w", err)
	}
	return nil
}

// toSave returns the entries to save, each list from its end. Those that can change no decision any
// more are left out while the table has room: they would only be evicted first. The pinned come last: of
// them no more than that they were is ever asked.
func (d *Detector) toSave() []uint32 {
	var out []uint32
	roomy := d.table.used < d.table.limit/2
	for _, r := range []rank{rankNear, rankFailed, rankBusy, rankAsked, rankPinned} {
		from := len(out)
		for i := d.lists[r].front; i != 0 && len(out) < snapshotEntries; {
			e := d.table.at(i)
			if !roomy || r == rankPinned || time.Duration(d.clock.now-e.last) <= d.matters(e) {
				out = append(out, i)
			}
			i = e.next
		}
		for a, b := from, len(out)-1; a < b; a, b = a+1, b-1 {
			out[a], out[b] = out[b], out[a]
		}
	}
	return out
}

func (d *Detector) appendEntry(out []byte, e *entry) []byte {
	put := func(n uint64) { out = binary.AppendUvarint(out, n) }
	out = append(out, byte(e.kind), byte(e.list), e.flags, e.streak, e.probes)
	put(e.key)
	put(uint64(e.last))
	put(uint64(e.first))
	for _, n := range []uint32{e.points, e.missed, e.hits} {
		put(uint64(n))
	}
	put(uint64(e.nfew))
	for _, f := range e.few[:e.nfew] {
		put(uint64(f))
	}
	out = d.appendChain(out, e.ring, 2*blockWords)
	out = d.appendChain(out, e.marks, 2*int(metrics))
	put(uint64(e.nrecords))
	for i, left := e.records, int(e.nrecords); left > 0; i = d.blocks.at(i).next {
		for _, w := range d.blocks.at(i).words[:min(left, recordsBlock)*recordWords] {
			put(uint64(w))
		}
		left -= recordsBlock
	}
	paths := d.pathsOf(e)
	put(uint64(len(paths)))
	for _, id := range paths {
		put(uint64(id))
	}
	for i := e.names; i != 0; i = d.blocks.at(i).next {
		b := d.blocks.at(i)
		name := b.name()
		put(uint64(len(name)) + 1)
		put(uint64(b.words[0]))
		out = append(out, name...)
	}
	put(0)
	return out
}

// appendChain writes so many words of a chain, if there is one.
func (d *Detector) appendChain(out []byte, i uint32, words int) []byte {
	if i == 0 {
		return append(out, 0)
	}
	out = append(out, 1)
	for left := words; left > 0; left -= blockWords {
		b := d.blocks.at(i)
		for _, w := range b.words[:min(left, blockWords)] {
			out = binary.AppendUvarint(out, uint64(w))
		}
		i = b.next
	}
	return out
}

// pathsOf returns the hashes of paths that an entry has met, oldest first.
func (d *Detector) pathsOf(e *entry) []uint32 {
	if e.npaths == 0 {
		return nil
	}
	out := make([]uint32, e.npaths)
	end, n := len(out), (len(out)-1)%blockWords+1
	for i := e.paths; i != 0; i = d.blocks.at(i).next {
		end -= copy(out[end-n:end], d.blocks.at(i).words[:n])
		n = blockWords
	}
	return out
}

// Load replaces what the detector knows by a snapshot; an error leaves it as it was. It pins nothing:
// whoever isolates pins again. A source that was pinned when it was saved, and is not by its next
// event, has been let go meanwhile and starts afresh.
func (d *Detector) Load(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, snapshotBytes+1))
	if err != nil {
		return fmt.Errorf("read the snapshot of sources: %w", err)
	}
	body, err := checked(data)
	if err != nil {
		return shivx.Hint(err, "remove it: what the sources did before is then forgotten, isolations stay")
	}
	next := *d
	next.working, next.space, next.ids = [2]uint32{}, nil, nil
	next.reset(d.seed)
	in := source{b: body}
	for i := range next.secret {
		next.secret[i] = in.uint64()
	}
	next.seen, next.clock = in.varint(), streamClock{now: in.varint(), far: int16(in.varint())}
	n := in.number(snapshotEntries)
	for range n {
		if next.loadEntry(&in); in.bad {
			break
		}
	}
	if in.bad || len(in.b) > 0 || next.seen < 0 || next.clock.now < 0 {
		return shivx.Hint(errSnapshot, "remove it: what the sources did before is then forgotten, isolations stay")
	}
	*d = next
	return nil
}

// checked returns what is between the version and the checksum.
func checked(data []byte) ([]byte, error) {
	const head = len(snapshotMagic) + 1
	switch {
	case len(data) > snapshotBytes:
		return nil, fmt.Errorf("%w: it is larger than %d bytes", errSnapshot, snapshotBytes)
	case len(data) < head+4 || string(data[:len(snapshotMagic)]) != snapshotMagic:
		return nil, fmt.Errorf("%w: it does not begin as one", errSnapshot)
	case data[head-1] != snapshotVersion:
		return nil, fmt.Errorf("the snapshot has the version %d; this program reads %d", data[head-1], snapshotVersion)
	}
	body, check := data[:len(data)-4], data[len(data)-4:]
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(check) {
		return nil, fmt.Errorf("%w: its checksum is wrong", errSnapshot)
	}
	return body[head:], nil
}
