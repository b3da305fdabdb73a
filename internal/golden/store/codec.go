package store

import (
	"crypto/sha256"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/shivx/shivx/internal/golden/format"
)

// Blocks that are as long as sampleFrom or longer are compressed only where one of samples pieces of
// sampleSize bytes can be. A whole megabyte of what cannot be costs as much as a third of its hash;
// shorter blocks cost little.
const (
	sampleFrom = 128 << 10
	sampleSize = 8 << 10
	samples    = 4
)

// directFrom is the length from which a block that is stored as it is is written without a copy.
const directFrom = 128 << 10

// newEncoder returns the encoder of one goroutine.
func newEncoder(concurrency int) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true), zstd.WithWindowSize(format.BlockSize), zstd.WithEncoderConcurrency(concurrency))
}

// saves says whether compressed bytes are worth their decompression.
func saves(compressed, plain int) bool { return compressed <= plain-plain/16 }

// compressible says whether plain is likely to become shorter. It writes behind scratch.
func compressible(enc *zstd.Encoder, scratch, plain []byte) bool {
	if len(plain) < sampleFrom {
		return true
	}
	step := len(plain) / samples
	for i := range samples {
		piece := plain[i*step+(step-sampleSize)/2:][:sampleSize]
		if saves(len(enc.EncodeAll(piece, scratch))-len(scratch), len(piece)) {
			return true
		}
	}
	return false
}

// encode appends plain to buf as it is stored, and says how that is. A long block that is stored as
// it is it does not append: to copy it would cost a sixth of what its hash does.
func (l *Lane) encode(buf []byte, id format.Hash, plain []byte) ([]byte, format.PackBlock) {
	b := format.PackBlock{ID: id, Plain: uint32(len(plain)), Codec: format.CodecRaw}
	at := len(buf)
	start := at
	if l.w.s.keys != nil {
		buf = append(buf, make([]byte, nonceSize)...) // which seal fills
		start = len(buf)
	}
	if compressible(l.encoder, buf, plain) {
		if packed := l.encoder.EncodeAll(plain, buf); saves(len(packed)-start, len(plain)) {
			b.Codec, buf = format.CodecZstd, packed
		}
	}
	k := l.w.s.keys
	if b.Codec == format.CodecRaw && k == nil {
		b.Stored, b.Sum = b.Plain, id // hashed already
		if len(plain) < directFrom {
			buf = append(buf, plain...)
		}
		return buf, b
	}
	if b.Codec == format.CodecRaw {
		buf = append(buf[:start], plain...)
	}
	if k != nil {
		l.about = id // in the lane: else each would be allocated
		buf = seal(k.blocks, buf, at, l.about[:])
	}
	b.Stored, b.Sum = uint32(len(buf)-at), sha256.Sum256(buf[at:])
	return buf, b
}

// decode returns the block that is stored so, in dst if that is long enough. It destroys stored.
// The block is whole in any case: it has the hash that it was asked for by.
func (s *Store) decode(dst, stored []byte, r *record, h format.Hash) ([]byte, error) {
	dst, err := s.unpack(dst, stored, &r.id, r.plain, r.codec())
	if err != nil {
		return nil, err
	}
	return dst, verify(dst, r, h)
}

// unpack unseals and decompresses. It destroys stored.
func (s *Store) unpack(dst, stored []byte, id *format.Hash, plain uint32, codec format.Codec) ([]byte, error) {
	var err error
	if s.keys != nil {
		if stored, err = unseal(s.keys.blocks, stored, id[:]); err != nil {
			return nil, err
		}
	}
	if codec != format.CodecZstd {
		return append(dst[:0], stored...), nil
	}
	if dst, err = s.decoder.DecodeAll(stored, grow(dst, int(plain))[:0]); err != nil {
		return nil, fmt.Errorf("%w: %w", format.ErrDamaged, err)
	}
	return dst, nil
}

// content sees whether a stored block, whose bytes are those of its record, is also the block that its id
// stands for: whoever writes to the store can make a pack that fits its name and says of a block that it
// were another, and so does memory that fails before the hash is made. It destroys stored, and returns dst's
// memory or longer.
func (s *Store) content(dst, stored []byte, b *format.PackBlock) ([]byte, error) {
	if s.keys == nil && b.Codec == format.CodecRaw {
		return dst, nil // its id is the hash of what is stored
	}
	plain, err := s.unpack(dst, stored, &b.ID, b.Plain, b.Codec)
	if err != nil {
		return dst, err
	}
	if len(plain) != int(b.Plain) || s.blockID(sha256.Sum256(plain)) != b.ID {
		return plain, fmt.Errorf("%w: what is stored is not the block that its id stands for", format.ErrDamaged)
	}
	return plain, nil
}

func verify(plain []byte, r *record, h format.Hash) error {
	if len(plain) != int(r.plain) || sha256.Sum256(plain) != h {
		return fmt.Errorf("%w: %d bytes that are not those of the hash", format.ErrDamaged, len(plain))
	}
	return nil
}

// grow returns n bytes, of b's memory if it has as many.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
