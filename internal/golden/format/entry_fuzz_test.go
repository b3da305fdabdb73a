package format_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

func FuzzParseEntry(f *testing.F) {
	for _, e := range samples() {
		line, err := format.AppendEntry(nil, &e)
		require.NoError(f, err)
		f.Add(line)
	}
	f.Add([]byte(`{"path":"/a","type":"dir","mode":"0755","uid":0,"gid":0,"mtime":"0.000000000","flags":7}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var e format.Entry
		if err := format.ParseEntry(&e, line); err != nil {
			return
		}
		again, err := format.AppendEntry(nil, &e)
		require.NoError(t, err)
		require.Equal(t, string(bytes.TrimSuffix(line, []byte{'\n'}))+"\n", string(again))
		sameAsJSON(t, &e, line)
	})
}

func FuzzParseHeader(f *testing.F) {
	line, err := format.AppendHeader(nil, sampleHeader())
	require.NoError(f, err)
	f.Add(line)
	f.Add(bytes.Replace(line, []byte(`"kind"`), []byte(`"later":1,"kind"`), 1))
	f.Fuzz(func(t *testing.T, line []byte) {
		h, err := format.ParseHeader(line)
		if err != nil {
			return
		}
		again, err := format.AppendHeader(nil, h)
		require.NoError(t, err)
		require.Equal(t, string(bytes.TrimSuffix(line, []byte{'\n'}))+"\n", string(again))
	})
}

func FuzzParsePackIndex(f *testing.F) {
	index, at := samplePack()
	f.Add(index, at)
	f.Fuzz(func(t *testing.T, index []byte, at int64) {
		blocks, err := format.ParsePackIndex(index, at)
		if err != nil {
			return
		}
		end := int64(len(format.PackMagic))
		var again []byte
		for place, b := range blocks {
			require.Equal(t, end, place)
			end += int64(b.Stored)
			again = format.AppendPackBlock(again, &b)
		}
		require.Equal(t, at, end)
		require.Equal(t, index, again)
	})
}
