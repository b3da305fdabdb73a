package format_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

func TestHeaderComesBackAsItWas(t *testing.T) {
	for _, h := range []*format.Header{sampleHeader(), {
		Format: 1, Store: "s", ID: "i", Set: "db", Host: "h", Kind: format.KindSnapshot, Created: time.Unix(0, 1).UTC(), Roots: []string{"/"},
	}} {
		line, err := format.AppendHeader([]byte("before"), h)
		require.NoError(t, err)
		line = line[len("before"):]
		got, err := format.ParseHeader(line)
		require.NoError(t, err)
		again, err := format.AppendHeader(nil, got)
		require.NoError(t, err)
		require.Equal(t, string(line), string(again))
		if len(h.Packs) > 0 {
			require.Equal(t, h, got)
			// What the standard library writes means the same.
			std, err := json.Marshal(h)
			require.NoError(t, err)
			require.JSONEq(t, string(std), string(line))
		}
		_, err = format.ParseHeader(bytes.TrimSuffix(line, []byte{'\n'}))
		require.NoError(t, err)
	}
}

func TestEveryChangedByteOfAHeaderIsSeen(t *testing.T) {
	line, err := format.AppendHeader(nil, sampleHeader())
	require.NoError(t, err)
	for i, old := range line {
		for _, b := range []byte{old ^ 1, old ^ 0x20, old ^ 0x80, '"', '\\', '0', ' ', '\n', ',', 0, 0xff} {
			line[i] = b
			h, err := format.ParseHeader(line)
			if b == old || err != nil {
				continue
			}
			again, err := format.AppendHeader(nil, h)
			require.NoError(t, err)
			require.Equal(t, string(line), string(again))
		}
		line[i] = old
	}
	for i := range line[:len(line)-1] {
		_, err := format.ParseHeader(line[:i])
		require.ErrorIs(t, err, format.ErrDamaged)
	}
}

func TestHeaderIsRefused(t *testing.T) {
	cases := map[string]func(*format.Header){
		"format":                 func(h *format.Header) { h.Format = 0 },
		"set is a path":          func(h *format.Header) { h.Set = "../etc" },
		"id is hidden":           func(h *format.Header) { h.ID = ".x" },
		"id has a slash":         func(h *format.Header) { h.ID = "a/b" },
		"no set":                 func(h *format.Header) { h.Set = "" },
		"long set":               func(h *format.Header) { h.Set = strings.Repeat("a", 101) },
		"store":                  func(h *format.Header) { h.Store = "a b" },
		"no host":                func(h *format.Header) { h.Host = "" },
		"host is not UTF-8":      func(h *format.Header) { h.Host = "\xff" },
		"name of two lines":      func(h *format.Header) { h.Name = "a\nb" },
		"kind":                   func(h *format.Header) { h.Kind = "copy" },
		"no time":                func(h *format.Header) { h.Created = time.Time{} },
		"year 10000":             func(h *format.Header) { h.Created = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"year 10000, kept":       func(h *format.Header) { h.Until = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"taken":                  func(h *format.Header) { h.Taken = -1 },
		"taken, no number":       func(h *format.Header) { h.Taken = math.NaN() },
		"taken for ever":         func(h *format.Header) { h.Taken = math.Inf(1) },
		"no roots":               func(h *format.Header) { h.Roots = nil },
		"root is not clean":      func(h *format.Header) { h.Roots[0] = "/etc/" },
		"root is not UTF-8":      func(h *format.Header) { h.Roots[2] = "/srv/\xff" },
		"roots out of order":     func(h *format.Header) { h.Roots[0], h.Roots[1] = h.Roots[1], h.Roots[0] },
		"root below another":     func(h *format.Header) { h.Roots[1] = "/etc/nginx/conf.d"; h.Missing = nil },
		"all is below /":         func(h *format.Header) { h.Roots[0] = "/" },
		"root twice":             func(h *format.Header) { h.Roots[1] = h.Roots[0]; h.Missing = nil },
		"missing is no root":     func(h *format.Header) { h.Missing = []string{"/etc"} },
		"missing twice":          func(h *format.Header) { h.Missing = []string{"/etc/redis", "/etc/redis"} },
		"exclude is not UTF-8":   func(h *format.Header) { h.Exclude[0] = "\xff" },
		"note without a path":    func(h *format.Header) { h.Unstable[0].Path = "" },
		"note, not clean":        func(h *format.Header) { h.Skipped[0].Path = "/a/../b" },
		"source without a name":  func(h *format.Header) { h.Sources[0].Name = "" },
		"source without a path":  func(h *format.Header) { h.Sources[0].Path = "" },
		"source is not UTF-8":    func(h *format.Header) { h.Sources[0].Path = "/\xff" },
		"entries below zero":     func(h *format.Header) { h.Entries = -1 },
		"more files":             func(h *format.Header) { h.Files = h.Entries + 1 },
		"bytes below zero":       func(h *format.Header) { h.Bytes = -1 },
		"entries, no segment":    func(h *format.Header) { h.Segments = nil },
		"empty segment":          func(h *format.Header) { h.Segments[0].Plain = 0 },
		"segment not stored":     func(h *format.Header) { h.Segments[0].Stored = 0 },
		"segment of 2 GiB":       func(h *format.Header) { h.Segments[0].Plain = 2 << 30 },
		"segment grew":           func(h *format.Header) { h.Segments[0].Stored = 4000 },
		"segment, greatest size": func(h *format.Header) { h.Segments[0].Stored = math.MaxInt64 },
		"pack twice":             func(h *format.Header) { h.Packs[1] = h.Packs[0] },
		"packs out of order":     func(h *format.Header) { h.Packs[0], h.Packs[1] = h.Packs[1], h.Packs[0] },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			h := sampleHeader()
			change(h)
			_, err := format.AppendHeader(nil, h)
			require.Error(t, err)
		})
	}
}

func TestHeaderWrittenOtherwise(t *testing.T) {
	good, err := format.AppendHeader(nil, sampleHeader())
	require.NoError(t, err)
	cases := []struct {
		name, old, new string
		want           error
	}{
		{"a later format", `"shivx_golden":1`, `"shivx_golden":2`, format.ErrVersion},
		{"a later format, all else unknown", string(good), `{"shivx_golden":2,"id":7}`, format.ErrVersion},
		{"a field", `"kind"`, `"later":1,"kind"`, format.ErrVersion},
		{"format is text", `"shivx_golden":1`, `"shivx_golden":"1"`, format.ErrDamaged},
		{"no format", `"shivx_golden":1,`, ``, format.ErrDamaged},
		{"field twice", `"set":"configs"`, `"set":"configs","set":"configs"`, format.ErrDamaged},
		{"another case", `"set"`, `"SET"`, format.ErrVersion},
		{"space", `,"id"`, `, "id"`, format.ErrDamaged},
		{"order", `"store":"01JD8QZ4Y8W2K3N4P5R6S7T8V9","id":"20261123-135531-7f3a9c"`, `"id":"20261123-135531-7f3a9c","store":"01JD8QZ4Y8W2K3N4P5R6S7T8V9"`, format.ErrDamaged},
		{"zone", `2026-11-23T13:55:31.12Z`, `2026-11-23T14:55:31.12+01:00`, format.ErrDamaged},
		{"exponent", `4.25`, `425e-2`, format.ErrDamaged},
		{"packs are null", `,"exclude":["/srv/**/*.tmp"]`, `,"exclude":null`, format.ErrDamaged},
		{"not JSON", string(good), `shivx`, format.ErrDamaged},
		{"field of a segment", `"plain":2000`, `"plain":2000,"x":1`, format.ErrDamaged},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			line := strings.Replace(string(good), c.old, c.new, 1)
			require.NotEqual(t, string(good), line)
			_, err := format.ParseHeader([]byte(line))
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestNamesAreSafe(t *testing.T) {
	for _, good := range []string{"a", "configs", "20261123-135531-7f3a9c", "A.b_c-9"} {
		require.NoError(t, format.CheckName(good))
	}
	for _, bad := range []string{"", ".", "..", "-a", "a/b", "a\\b", "a b", "é", "a\x00", strings.Repeat("a", 101)} {
		require.Error(t, format.CheckName(bad), "%q", bad)
	}
}

func TestSignature(t *testing.T) {
	priv := signingKey()
	line, err := format.AppendHeader(nil, sampleHeader())
	require.NoError(t, err)
	sig, err := format.Sign(line, priv)
	require.NoError(t, err)
	require.LessOrEqual(t, len(sig), format.MaxSignature)
	bare := bytes.TrimSuffix(line, []byte{'\n'})
	for _, h := range [][]byte{line, bare} {
		for _, s := range [][]byte{sig, sig[:len(sig)-1]} {
			key, err := format.VerifySignature(h, s)
			require.NoError(t, err)
			require.Equal(t, priv.Public(), key)
		}
	}
	same, err := format.Sign(bare, priv)
	require.NoError(t, err)
	require.Equal(t, sig, same)

	for i := range sig {
		changed := bytes.Clone(sig)
		changed[i] ^= 1
		_, err := format.VerifySignature(line, changed)
		require.ErrorIs(t, err, format.ErrDamaged, "%s", changed)
	}
	for i := range bare {
		changed := bytes.Clone(bare)
		changed[i] ^= 1
		_, err := format.VerifySignature(changed, sig)
		require.ErrorIs(t, err, format.ErrDamaged)
	}
	_, err = format.VerifySignature(line, append(bytes.Clone(sig), '\n'))
	require.ErrorIs(t, err, format.ErrDamaged)
	_, err = format.Sign(line, priv[:5])
	require.Error(t, err)
}

// A header of many roots that are missing takes as long as one of many roots.
func TestManyMissingRoots(t *testing.T) {
	h := *sampleHeader()
	h.Roots, h.Missing = nil, nil
	for i := range 300_000 {
		h.Roots = append(h.Roots, fmt.Sprintf("/srv/%06d", i))
	}
	h.Missing = h.Roots
	begun := time.Now()
	_, err := format.AppendHeader(nil, &h)
	require.NoError(t, err)
	require.Less(t, time.Since(begun), 5*time.Second)
	h.Missing = []string{h.Roots[1], h.Roots[0]}
	_, err = format.AppendHeader(nil, &h)
	require.ErrorContains(t, err, "out of order")
	h.Missing = []string{"/srv"}
	_, err = format.AppendHeader(nil, &h)
	require.Error(t, err)
}

// A pack of any length is refused before anything of that length is read.
func TestPackThatIsTooLong(t *testing.T) {
	trailer := format.AppendPackTrailer(nil, 1000)
	_, err := format.ParsePackTrailer(trailer, format.MaxPack+1)
	require.ErrorIs(t, err, format.ErrDamaged)
	_, err = format.ParsePackTrailer(trailer, format.MaxPack)
	require.NoError(t, err)
}
