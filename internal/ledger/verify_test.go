package ledger

import (
	"bytes"
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

// cutTo leaves the first n records of an unrotated ledger.
func (s sample) cutTo(t testing.TB, n int) {
	_, lines := s.lines(t)
	writeLines(t, s.path, lines[0][:n])
}

func (s sample) cutHeads(t testing.TB, n int) {
	data, err := os.ReadFile(s.path + ".heads")
	require.NoError(t, err)
	writeLines(t, s.path+".heads", strings.Split(string(data), "\n")[:n])
}

// rewrite changes record from and recomputes all hashes after it.
func (s sample) rewrite(t testing.TB, from int) {
	_, lines := s.lines(t)
	v, _ := parseLine([]byte(lines[0][from]))
	prev := v.prev.String()
	for i := from; i < len(lines[0]); i++ {
		lines[0][i], prev = rehash(lines[0][i], uint64(i+1), prev, change)
	}
	writeLines(t, s.path, lines[0])
}

func TestVerifyFindsAttacksOnTheWhole(t *testing.T) {
	old, s0 := newSample(t, 20, 0), newSample(t, 40, 0)
	rotated := newSample(t, 60, 3000)
	tests := []struct {
		name    string
		from    sample
		do      func(t *testing.T, s sample) VerifyOptions
		want    Kind
		seq, to uint64
	}{
		{"cut tail", s0, func(t *testing.T, s sample) VerifyOptions { s.cutTo(t, 33); return VerifyOptions{} }, KindCut, 34, 40},
		{"emptied", s0, func(t *testing.T, s sample) VerifyOptions { s.cutTo(t, 0); return VerifyOptions{} }, KindCut, 1, 40},
		{"removed", s0, func(t *testing.T, s sample) VerifyOptions {
			require.NoError(t, os.Remove(s.path))
			return VerifyOptions{}
		}, KindSegmentMissing, 1, 40},
		{"only the newline of the last record cut off", s0, func(t *testing.T, s sample) VerifyOptions {
			info, err := os.Stat(s.path)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(s.path, info.Size()-1))
			return VerifyOptions{}
		}, KindCut, 40, 40},
		{"tail and heads cut: the key file knows", s0, func(t *testing.T, s sample) VerifyOptions {
			s.cutTo(t, 20)
			s.cutHeads(t, 3)
			return VerifyOptions{}
		}, KindHeadsMissing, 0, 0},
		{"heads cut and key removed", s0, func(t *testing.T, s sample) VerifyOptions {
			s.cutTo(t, 20)
			s.cutHeads(t, 3)
			require.NoError(t, os.Remove(s.path+".key"))
			return VerifyOptions{}
		}, KindKeyMissing, 0, 0},
		{"tail and heads cut: the witness knows", s0, func(t *testing.T, s sample) VerifyOptions {
			s.cutTo(t, 20)
			s.cutHeads(t, 3)
			return VerifyOptions{Witness: s.witness, Copy: true}
		}, KindRolledBack, 21, 40},
		{"old copy put back", s0, func(t *testing.T, s sample) VerifyOptions {
			// The old copy holds the same first records under the same keys.
			for _, ext := range []string{"", ".heads", ".key"} {
				data, err := os.ReadFile(s.path + ext)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(s.path+ext, data, 0o600))
			}
			s.cutTo(t, 20)
			s.cutHeads(t, 3)
			k := newKeyState("operational_ledger")
			k.Genesis, k.Epoch = s.witness[0].Genesis, 3
			require.NoError(t, writeKey(s.path+".key", k))
			return VerifyOptions{Witness: s.witness[4:]}
		}, KindRolledBack, 21, 40},
		{"rewritten with recomputed hashes", s0, func(t *testing.T, s sample) VerifyOptions {
			s.rewrite(t, 24)
			return VerifyOptions{}
		}, KindRewritten, 21, 30},
		{"rewritten, heads removed", s0, func(t *testing.T, s sample) VerifyOptions {
			s.rewrite(t, 0)
			require.NoError(t, os.Remove(s.path+".heads"))
			return VerifyOptions{}
		}, KindHeadsMissing, 0, 0},
		{"rewritten, heads and key removed", s0, func(t *testing.T, s sample) VerifyOptions {
			s.rewrite(t, 0)
			require.NoError(t, os.Remove(s.path+".heads"))
			require.NoError(t, os.Remove(s.path+".key"))
			return VerifyOptions{}
		}, KindHeadsMissing, 0, 0},
		{"another ledger in its place: the witness knows", s0, func(t *testing.T, s sample) VerifyOptions {
			for _, ext := range []string{"", ".heads", ".key"} {
				data, err := os.ReadFile(old.path + ext)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(s.path+ext, data, 0o600))
			}
			return VerifyOptions{Witness: s.witness}
		}, KindGenesis, 0, 0},
		{"another ledger in its place: the pinned key knows", s0, func(t *testing.T, s sample) VerifyOptions {
			for _, ext := range []string{"", ".heads", ".key"} {
				data, err := os.ReadFile(old.path + ext)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(s.path+ext, data, 0o600))
			}
			return VerifyOptions{Trusted: []string{s.witness[0].Genesis}}
		}, KindGenesis, 0, 0},
		{"a head changed", s0, func(t *testing.T, s sample) VerifyOptions {
			data, err := os.ReadFile(s.path + ".heads")
			require.NoError(t, err)
			data = bytes.Replace(data, []byte(`"seq":20`), []byte(`"seq":19`), 1)
			require.NoError(t, os.WriteFile(s.path+".heads", data, 0o600))
			return VerifyOptions{}
		}, KindSignature, 0, 0},
		{"a head removed", s0, func(t *testing.T, s sample) VerifyOptions {
			data, err := os.ReadFile(s.path + ".heads")
			require.NoError(t, err)
			lines := bytes.SplitAfter(data, []byte("\n"))
			require.NoError(t, os.WriteFile(s.path+".heads", bytes.Join(append(lines[:2:2], lines[3:]...), nil), 0o600))
			return VerifyOptions{}
		}, KindHeadsMissing, 0, 0},
		{"first segment missing", rotated, removeSegment(0), KindSegmentMissing, 1, 0},
		{"middle segment missing", rotated, removeSegment(2), KindSegmentMissing, 0, 0},
		{"last sealed segment missing", rotated, removeSegment(-2), KindSegmentMissing, 0, 0},
		{"active segment missing", rotated, removeSegment(-1), KindSegmentMissing, 0, 60},
		{"segment emptied", rotated, func(t *testing.T, s sample) VerifyOptions {
			paths, _ := s.lines(t)
			require.NoError(t, os.Truncate(paths[1], 0))
			return VerifyOptions{}
		}, KindDeleted, 0, 0},
		{"sealed segment cut in a line", rotated, func(t *testing.T, s sample) VerifyOptions {
			paths, _ := s.lines(t)
			info, err := os.Stat(paths[1])
			require.NoError(t, err)
			require.NoError(t, os.Truncate(paths[1], info.Size()-5))
			return VerifyOptions{}
		}, KindEdited, 0, 0},
		{"segments exchanged", rotated, func(t *testing.T, s sample) VerifyOptions {
			paths, lines := s.lines(t)
			writeLines(t, paths[0], lines[1])
			writeLines(t, paths[1], lines[0])
			return VerifyOptions{}
		}, KindReordered, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.from.copy(t)
			rep := verify(t, s.path, tt.do(t, s))
			require.False(t, rep.OK)
			fits := false
			for _, f := range rep.Findings {
				fits = fits || f.Kind == tt.want && (tt.seq == 0 || f.Seq == tt.seq) && (tt.to == 0 || f.To == tt.to)
			}
			require.True(t, fits, "%+v", rep.Findings)
		})
	}
}

func removeSegment(i int) func(*testing.T, sample) VerifyOptions {
	return func(t *testing.T, s sample) VerifyOptions {
		paths, _ := s.lines(t)
		require.NoError(t, os.Remove(paths[(i+len(paths))%len(paths)]))
		return VerifyOptions{}
	}
}
