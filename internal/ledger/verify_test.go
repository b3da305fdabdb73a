package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sample is a closed ledger of n records, a head after every tenth, and its witness.
type sample struct {
	path    string
	witness []Head
	n       int
}

func newSample(t testing.TB, n int, maxBytes int64) sample {
	t.Helper()
	s := sample{path: tempLedger(t), n: n}
	l := open(t, s.path, Options{MaxBytes: maxBytes, OnHead: func(h Head) { s.witness = append(s.witness, h) }})
	for i := 0; i < n; i += 10 {
		appendN(t, l, i, min(10, n-i))
		_, err := l.Sign(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	return s
}

// copy returns the same ledger in another folder.
func (s sample) copy(t testing.TB) sample {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Dir(s.path))))
	s.path = filepath.Join(dir, filepath.Base(s.path))
	return s
}

func verify(t testing.TB, path string, o VerifyOptions) Report {
	t.Helper()
	rep, err := Verify(context.Background(), path, o)
	require.NoError(t, err)
	return rep
}

func kinds(rep Report) map[Kind]bool {
	m := map[Kind]bool{}
	for _, f := range rep.Findings {
		m[f.Kind] = true
	}
	return m
}

// lines returns the segments' paths and the lines of each.
func (s sample) lines(t testing.TB) (paths []string, lines [][]string) {
	t.Helper()
	segs, err := sealedSegments(s.path)
	require.NoError(t, err)
	for _, seg := range append(segs, segment{path: s.path}) {
		data, err := os.ReadFile(seg.path)
		require.NoError(t, err)
		if len(data) > 0 {
			paths = append(paths, seg.path)
			lines = append(lines, strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"))
		}
	}
	return paths, lines
}

func writeLines(t testing.TB, path string, lines []string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(append(lines, ""), "\n")), 0o640))
}

// rehash gives a line new content, number and previous hash, with a hash that fits.
func rehash(line string, seq uint64, prev string, edit func(string) string) (string, string) {
	v, ok := parseLine([]byte(line))
	if !ok {
		panic("not a record: " + line)
	}
	body := fmt.Sprintf(`{"seq":%d,"prev":"%s"%s`, seq, prev, edit(line[v.front:v.hashed]))
	hash := digest(sha256.Sum256([]byte(body))).String()
	return body + hashMark + hash + lineEnd, hash
}

func change(s string) string { return strings.Replace(s, `"healed"`, `"failed"`, 1) }

func TestVerifyUnharmed(t *testing.T) {
	for _, maxBytes := range []int64{0, 1, 1200, 5000} {
		s := newSample(t, 55, maxBytes)
		rep := verify(t, s.path, VerifyOptions{Witness: s.witness, Trusted: []string{s.witness[0].Genesis}})
		require.Empty(t, rep.Findings)
		require.True(t, rep.OK && rep.KeyChecked)
		require.EqualValues(t, 55, rep.Records)
		require.EqualValues(t, 55, rep.LastSeq)
		require.EqualValues(t, 55, rep.Signed)
		require.GreaterOrEqual(t, rep.Heads, 7, "one at the start, one per ten records, and one or more per rotation")
		require.Zero(t, rep.Open)
		require.Nil(t, rep.Torn)
	}
}

func TestVerifyStatesOpenRecords(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	appendN(t, l, 0, 7)
	_, err := l.Sign(t.Context())
	require.NoError(t, err)
	appendN(t, l, 7, 5)
	rep := verify(t, path, VerifyOptions{})
	require.True(t, rep.OK, "%+v", rep.Findings)
	require.EqualValues(t, 5, rep.Open)
}

// attack changes the lines of one segment at a random place and says which findings fit, and at
// which sequence number.
type attack struct {
	name string
	do   func(r *rand.Rand, lines []string) ([]string, uint64)
	fits []Kind
}

func seqOf(line string) uint64 {
	v, _ := parseLine([]byte(line))
	return v.seq
}

var attacks = []attack{
	{"change a byte", func(r *rand.Rand, lines []string) ([]string, uint64) {
		i := r.IntN(len(lines))
		seq := seqOf(lines[i])
		b := []byte(lines[i])
		b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		lines[i] = string(b)
		return lines, seq
	}, []Kind{KindEdited}},
	{"edit and recompute its hash", func(r *rand.Rand, lines []string) ([]string, uint64) {
		i := r.IntN(len(lines) - 1)
		v, _ := parseLine([]byte(lines[i]))
		lines[i], _ = rehash(lines[i], v.seq, v.prev.String(), change)
		return lines, v.seq
	}, []Kind{KindEdited}},
	{"delete a line", func(r *rand.Rand, lines []string) ([]string, uint64) {
		i := r.IntN(len(lines) - 1)
		seq := seqOf(lines[i])
		return append(lines[:i], lines[i+1:]...), seq
	}, []Kind{KindDeleted}},
	{"insert garbage", func(r *rand.Rand, lines []string) ([]string, uint64) {
		i := r.IntN(len(lines))
		return append(lines[:i], append([]string{`{"note":"not ours"}`}, lines[i:]...)...), 0
	}, []Kind{KindInserted}},
	{"insert an empty line", func(r *rand.Rand, lines []string) ([]string, uint64) {
		i := r.IntN(len(lines))
		return append(lines[:i], append([]string{""}, lines[i:]...)...), 0
	}, []Kind{KindInserted}},
	{"insert a forged record", func(r *rand.Rand, lines []string) ([]string, uint64) {
		i := r.IntN(len(lines) - 1)
		v, _ := parseLine([]byte(lines[i]))
		forged, _ := rehash(lines[i], v.seq+1, v.hash.String(), change)
		return append(lines[:i+1], append([]string{forged}, lines[i+1:]...)...), v.seq + 1
	}, []Kind{KindInserted}},
	{"swap two lines", func(r *rand.Rand, lines []string) ([]string, uint64) {
		i, j := r.IntN(len(lines)), r.IntN(len(lines)-1)
		if j >= i {
			j++
		}
		lines[i], lines[j] = lines[j], lines[i]
		return lines, 0
	}, []Kind{KindReordered}},
	{"move a block", func(r *rand.Rand, lines []string) ([]string, uint64) {
		a := 1 + r.IntN(len(lines)-2)
		b := a + 1 + r.IntN(len(lines)-a-1)
		moved := append(append([]string{}, lines[a:b]...), lines[:a]...)
		return append(moved, lines[b:]...), 0
	}, []Kind{KindReordered}},
	{"copy a line", func(r *rand.Rand, lines []string) ([]string, uint64) {
		i, j := r.IntN(len(lines)), r.IntN(len(lines)+1)
		return append(lines[:j:j], append([]string{lines[i]}, lines[j:]...)...), seqOf(lines[i])
	}, []Kind{KindDuplicated}},
}

func TestVerifyFindsAttacksAtRandomPlaces(t *testing.T) {
	whole, rotated := newSample(t, 40, 0), newSample(t, 60, 3000)
	for _, a := range attacks {
		for seed := range uint64(60) {
			s := whole
			if seed%2 == 1 {
				s = rotated
			}
			t.Run(fmt.Sprintf("%s/%d", a.name, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				s := s.copy(t)
				paths, lines := s.lines(t)
				k := r.IntN(len(paths))
				if len(lines[k]) < 3 {
					k = 0
				}
				changed, seq := a.do(r, append([]string{}, lines[k]...))
				writeLines(t, paths[k], changed)
				rep := verify(t, s.path, VerifyOptions{})
				require.False(t, rep.OK)
				fits := false
				for _, f := range rep.Findings {
					for _, kind := range a.fits {
						fits = fits || f.Kind == kind && f.Segment == paths[k] && (seq == 0 || f.Seq <= seq && seq <= f.To)
					}
					require.NotEmpty(t, f.Hint)
				}
				require.True(t, fits, "seq %d: %+v", seq, rep.Findings)
				require.LessOrEqual(t, len(rep.Findings), 3, "%+v", rep.Findings)
			})
		}
	}
}
