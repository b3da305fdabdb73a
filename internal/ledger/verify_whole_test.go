package ledger

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
