package format_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// samplePack is the index of three blocks and where it begins.
func samplePack() ([]byte, int64) {
	blocks := []format.PackBlock{
		{ID: hash(1), Sum: hash(1), Stored: 10, Plain: 10, Codec: format.CodecRaw},
		{ID: hash(2), Sum: hash(3), Stored: 100, Plain: format.BlockSize, Codec: format.CodecZstd},
		{ID: hash(4), Sum: hash(5), Stored: 10 + format.SealSize, Plain: 10, Codec: format.CodecRaw},
	}
	var index []byte
	at := int64(len(format.PackMagic))
	for _, b := range blocks {
		index = format.AppendPackBlock(index, &b)
		at += int64(b.Stored)
	}
	return index, at
}

func TestPackComesBackAsItWas(t *testing.T) {
	index, at := samplePack()
	require.Len(t, index, 3*format.PackRecord)
	require.Equal(t, format.Sum(index), format.PackName(index))
	trailer := format.AppendPackTrailer(nil, 3)
	require.Len(t, trailer, format.PackTrailer)
	size := at + int64(len(index)+len(trailer))

	begins, err := format.ParsePackTrailer(trailer, size)
	require.NoError(t, err)
	require.Equal(t, at, begins)
	blocks, err := format.ParsePackIndex(index, begins)
	require.NoError(t, err)
	var again []byte
	var places []int64
	for place, b := range blocks {
		again = format.AppendPackBlock(again, &b)
		places = append(places, place)
	}
	require.Equal(t, index, again)
	require.Equal(t, []int64{8, 18, 118}, places)
	for range blocks {
		break // a reader may stop early
	}
}

func TestPackIsRefused(t *testing.T) {
	index, at := samplePack()
	trailer := format.AppendPackTrailer(nil, 3)
	size := at + int64(len(index)+len(trailer))
	for i := range trailer {
		for b := range 256 {
			changed := append([]byte{}, trailer...)
			if changed[i] == byte(b) {
				continue
			}
			changed[i] = byte(b)
			begins, err := format.ParsePackTrailer(changed, size)
			if err == nil { // another number of blocks that could be: they do not end there
				require.NotEqual(t, at, begins)
				_, err = format.ParsePackIndex(index, begins)
			}
			require.ErrorIs(t, err, format.ErrDamaged)
		}
	}
	_, err := format.ParsePackTrailer(trailer[1:], size)
	require.ErrorIs(t, err, format.ErrDamaged)
	_, err = format.ParsePackTrailer(trailer, int64(len(trailer)))
	require.ErrorIs(t, err, format.ErrDamaged)
	for _, length := range []int{0, 1, format.PackRecord + 1} {
		_, err = format.ParsePackIndex(index[:length], at)
		require.ErrorIs(t, err, format.ErrDamaged)
	}
	for _, wrong := range []int64{at - 1, at + 1, 0, -1} {
		_, err = format.ParsePackIndex(index, wrong)
		require.ErrorIs(t, err, format.ErrDamaged)
	}
}

func TestBlockIsRefused(t *testing.T) {
	cases := []struct {
		name string
		b    format.PackBlock
		want error
	}{
		{"codec", format.PackBlock{Stored: 1, Plain: 1, Codec: 2}, format.ErrVersion},
		{"nothing", format.PackBlock{Stored: 1, Plain: 0, Codec: format.CodecZstd}, format.ErrDamaged},
		{"nothing stored", format.PackBlock{Stored: 0, Plain: 9, Codec: format.CodecZstd}, format.ErrDamaged},
		{"too long", format.PackBlock{Stored: 1, Plain: format.BlockSize + 1, Codec: format.CodecZstd}, format.ErrDamaged},
		{"zstd made it longer", format.PackBlock{Stored: 60, Plain: 20, Codec: format.CodecZstd}, format.ErrDamaged},
		{"raw but shorter", format.PackBlock{Stored: 9, Plain: 20}, format.ErrDamaged},
		{"raw by another name", format.PackBlock{ID: hash(1), Sum: hash(2), Stored: 20, Plain: 20}, format.ErrDamaged},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := format.ParsePackIndex(format.AppendPackBlock(nil, &c.b), int64(len(format.PackMagic))+int64(c.b.Stored))
			require.ErrorIs(t, err, c.want)
		})
	}
}
