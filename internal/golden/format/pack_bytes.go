package format

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// SealSize is how many bytes longer a block or a segment is in an encrypted store: a nonce of 12
// bytes before it and a tag of 16 after it.
const SealSize = 12 + 16

// AppendPackBlock appends the record of a block to a pack's index.
func AppendPackBlock(index []byte, b *PackBlock) []byte {
	index = append(index, b.ID[:]...)
	index = append(index, b.Sum[:]...)
	index = binary.LittleEndian.AppendUint32(index, b.Stored)
	index = binary.LittleEndian.AppendUint32(index, b.Plain)
	return append(index, byte(b.Codec))
}

// PackName returns the name of the pack that has the index.
func PackName(index []byte) Hash { return Sum(index) }

// AppendPackTrailer appends what follows the index, to the index or to nothing.
func AppendPackTrailer(dst []byte, blocks int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(blocks))
	return append(dst, PackEnd...)
}

// ParsePackTrailer reads the last PackTrailer bytes of a pack of size bytes. It returns where the
// index begins; the index ends where the trailer begins.
func ParsePackTrailer(trailer []byte, size int64) (int64, error) {
	if len(trailer) != PackTrailer || string(trailer[4:]) != PackEnd {
		return 0, fmt.Errorf("%w: the pack does not end as a pack does", ErrDamaged)
	}
	if size > MaxPack {
		return 0, fmt.Errorf("%w: a pack of %d bytes", ErrDamaged, size)
	}
	n := int64(binary.LittleEndian.Uint32(trailer))
	at := size - PackTrailer - n*PackRecord
	// A block has at least one byte.
	if n == 0 || at < int64(len(PackMagic))+n {
		return 0, fmt.Errorf("%w: %d blocks in a pack of %d bytes", ErrDamaged, n, size)
	}
	return at, nil
}

// ParsePackIndex checks the index of a pack, which begins at byte at of it, and returns its blocks,
// each with the place of its first byte in the pack. That the index fits the pack's name is the
// caller's to check, before.
func ParsePackIndex(index []byte, at int64) (iter.Seq2[int64, PackBlock], error) {
	if len(index) == 0 || len(index)%PackRecord != 0 {
		return nil, fmt.Errorf("%w: a pack's index of %d bytes", ErrDamaged, len(index))
	}
	blocks := packBlocks(index)
	end := int64(len(PackMagic))
	for place, b := range blocks {
		if err := b.check(); err != nil {
			return nil, fmt.Errorf("block at %d of the pack: %w", place, err)
		}
		end = place + int64(b.Stored)
	}
	if end != at {
		return nil, fmt.Errorf("%w: the blocks end at %d, the pack's index begins at %d", ErrDamaged, end, at)
	}
	return blocks, nil
}

func packBlocks(index []byte) iter.Seq2[int64, PackBlock] {
	return func(yield func(int64, PackBlock) bool) {
		place := int64(len(PackMagic))
		for r := index; len(r) >= PackRecord; r = r[PackRecord:] {
			b := PackBlock{
				ID: Hash(r[:32]), Sum: Hash(r[32:64]), Codec: Codec(r[72]),
				Stored: binary.LittleEndian.Uint32(r[64:]), Plain: binary.LittleEndian.Uint32(r[68:]),
			}
			if !yield(place, b) {
				return
			}
			place += int64(b.Stored)
		}
	}
}

func (b *PackBlock) check() error {
	if b.Codec > CodecZstd {
		return fmt.Errorf("%w: codec %d", ErrVersion, b.Codec)
	}
	if b.Plain == 0 || b.Plain > BlockSize {
		return fmt.Errorf("%w: a block of %d bytes", ErrDamaged, b.Plain)
	}
	fits := b.Stored > 0 && b.Stored < b.Plain+SealSize
	if b.Codec == CodecRaw {
		// As it is and not sealed: then it is its own hash that names it.
		fits = b.Stored == b.Plain && b.ID == b.Sum || b.Stored == b.Plain+SealSize
	}
	if !fits {
		return fmt.Errorf("%w: %d bytes stored for a block of %d", ErrDamaged, b.Stored, b.Plain)
	}
	return nil
}
