package ledger

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTamperingWhileOpen changes the file under a running writer: the writer goes on from what it
// has acknowledged, so that the change stays visible.
func TestTamperingWhileOpen(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, s sample)
		want Kind
		seq  uint64
	}{
		{"cut", func(t *testing.T, s sample) { s.cutTo(t, 6) }, KindDeleted, 7},
		{"replaced", func(t *testing.T, s sample) {
			require.NoError(t, os.Rename(s.path, s.path+".away"))
			s2 := s
			s2.path += ".away"
			_, lines := s2.lines(t)
			writeLines(t, s.path, lines[0][:6])
		}, KindDeleted, 7},
		{"removed", func(t *testing.T, s sample) { require.NoError(t, os.Remove(s.path)) }, KindDeleted, 1},
		{"appended to", func(t *testing.T, s sample) {
			_, lines := s.lines(t)
			writeLines(t, s.path, append(lines[0], "foreign"))
		}, KindInserted, 0},
		{"appended to without a newline", func(t *testing.T, s sample) {
			f, err := os.OpenFile(s.path, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("foreign")
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := tempLedger(t)
			l := open(t, path, Options{})
			appendN(t, l, 0, 10)
			tt.do(t, sample{path: path})
			recs := appendN(t, l, 10, 5)
			require.EqualValues(t, 11, recs[0].Seq)
			require.NoError(t, l.Close())
			rep := verify(t, path, VerifyOptions{})
			if tt.want == "" {
				require.True(t, rep.OK, "%+v", rep.Findings)
				return
			}
			require.Len(t, rep.Findings, 1, "%+v", rep.Findings)
			require.Equal(t, tt.want, rep.Findings[0].Kind)
			require.Equal(t, tt.seq, rep.Findings[0].Seq)
		})
	}
}

// TestTamperingWhileStopped cuts and edits what a head covers, then opens and goes on: the damage
// must not be healed over.
func TestTamperingWhileStopped(t *testing.T) {
	s := newSample(t, 20, 0)
	cut := s.copy(t)
	cut.cutTo(t, 12)
	l := open(t, cut.path, Options{})
	recs := appendN(t, l, 20, 2)
	require.EqualValues(t, 21, recs[0].Seq)
	require.NoError(t, l.Close())
	rep := verify(t, cut.path, VerifyOptions{Witness: s.witness})
	require.Len(t, rep.Findings, 1, "%+v", rep.Findings)
	require.Equal(t, KindDeleted, rep.Findings[0].Kind)
	require.Equal(t, interval{13, 20}, interval{rep.Findings[0].Seq, rep.Findings[0].To})

	edited := s.copy(t)
	edited.rewrite(t, 19)
	l = open(t, edited.path, Options{})
	appendN(t, l, 20, 2)
	require.NoError(t, l.Close())
	rep = verify(t, edited.path, VerifyOptions{})
	require.Len(t, rep.Findings, 1, "%+v", rep.Findings)
	require.Equal(t, KindEdited, rep.Findings[0].Kind)
	require.EqualValues(t, 20, rep.Findings[0].Seq)
}

func TestDamagedRecordIsNotServed(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	appendN(t, l, 0, 3)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o640))
	_, _, err = l.Find("key-1")
	require.ErrorIs(t, err, ErrDamaged)
	var seqs []uint64
	err = Read(path, 0, func(r Record) error { seqs = append(seqs, r.Seq); return nil })
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "line 2")
	require.Equal(t, []uint64{1, 3}, seqs)
}
