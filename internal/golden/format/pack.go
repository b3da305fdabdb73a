package format

// A pack is a file of blocks:
//
//	8 bytes    PackMagic
//	           the stored blocks, one after another
//	73 bytes   for each block, in the same order: a record of the index
//	12 bytes   the number of blocks, 4 bytes, and PackEnd, 8 bytes
//
// Its name is the hash of the index. So the name stands for every byte of it. Numbers are
// little-endian.
const (
	PackMagic = "shivxpk1"
	PackEnd   = "1kpxvihs"
	// PackRecord is the length of a record of the index in bytes.
	PackRecord = 73
	// PackTrailer is the length of what follows the index.
	PackTrailer = 12
	// PackSize is the length at which a pack is ended and the next begun.
	PackSize = 32 << 20
	// PackIndex is the length of the index at which a pack is ended as well. Who writes or reads a pack has all of
	// its index in memory; of blocks of 30 bytes that would be most of the pack.
	PackIndex = 2 << 20
	// MaxPack is the greatest length of a pack. It bounds what one costs who reads it, before its index can
	// be compared with its name.
	MaxPack = 2 * PackSize
)

// Codec says how a block is stored.
type Codec uint8

// The codecs. In an encrypted store the result is sealed as well.
const (
	CodecRaw  Codec = 0
	CodecZstd Codec = 1
)

// PackBlock is a record of a pack's index: 32 bytes ID, 32 bytes Sum, 4 bytes Stored, 4 bytes Plain,
// 1 byte Codec.
type PackBlock struct {
	// ID is the hash of the block as it is in the file; in an encrypted store a keyed hash of that.
	ID Hash
	// Sum is the hash of the stored bytes.
	Sum Hash
	// Stored and Plain are its lengths in the pack and in the file.
	Stored, Plain uint32
	Codec         Codec
}
