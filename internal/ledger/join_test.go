package ledger

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// joint is a ledger of 60 records of which a copy was taken when it had 40.
type joint struct {
	sample
	copied string
}

func newJoint(t *testing.T, maxBytes int64) joint {
	t.Helper()
	s := sample{path: tempLedger(t), n: 60}
	l := open(t, s.path, Options{MaxBytes: maxBytes, OnHead: func(h Head) { s.witness = append(s.witness, h) }})
	grow := func(from, n int) {
		for i := from; i < from+n; i += 10 {
			appendN(t, l, i, 10)
			_, err := l.Sign(t.Context())
			require.NoError(t, err)
		}
	}
	grow(0, 40)
	dir := t.TempDir()
	n, err := CopyTo(s.path, dir)
	require.NoError(t, err)
	require.Positive(t, n)
	grow(40, 20)
	require.NoError(t, l.Close())
	stored := t.TempDir() // in a store it shares no file with the ledger any more
	require.NoError(t, os.CopyFS(stored, os.DirFS(dir)))
	return joint{s, filepath.Join(stored, filepath.Base(s.path))}
}

func joinOptions(id string) JoinOptions {
	return JoinOptions{ID: id, Copy: "golden-1", Logger: slog.New(slog.DiscardHandler)}
}

func (j joint) join(t *testing.T) Joined {
	t.Helper()
	out, err := Join(t.Context(), j.path, j.copied, joinOptions("restore-1"))
	require.NoError(t, err)
	require.NoDirExists(t, joinFolder(j.path), "nothing is left to do")
	return out
}

// remove removes the ledger's files but for those whose names end so.
func (j joint) remove(t *testing.T, but ...string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(j.path), "*"))
	require.NoError(t, err)
	for _, f := range files {
		keep := false
		for _, b := range but {
			keep = keep || strings.HasSuffix(f, b)
		}
		if !keep {
			require.NoError(t, os.RemoveAll(f))
		}
	}
}

// lastNotice is the newest record, which says what became of a copy.
func (j joint) lastNotice(t *testing.T) Joined {
	t.Helper()
	tail, err := Tail(j.path, 1)
	require.NoError(t, err)
	var n struct {
		EventType string `json:"event_type"`
		Details   Joined `json:"details"`
	}
	require.NoError(t, tail[0].Decode(&n))
	require.Equal(t, "ledger.join", n.EventType)
	return n.Details
}

func TestACopyHoldsWholeRecordsAndNoKey(t *testing.T) {
	j := newJoint(t, 4000)
	rep := verify(t, j.copied, VerifyOptions{Copy: true})
	require.True(t, rep.OK, "%+v", rep.Findings)
	require.EqualValues(t, 40, rep.Records)
	require.NoFileExists(t, j.copied+".key")
	require.Nil(t, rep.Torn)
	n, err := CopyTo(filepath.Join(t.TempDir(), "none.ndjson"), t.TempDir())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestACopyBesideAWriter(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{MaxBytes: 4000, HeadRecords: 1, HeadEvery: 1})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := l.Append(context.Background(), "", eventOf(i)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 60 {
		seq, _ := l.Last()
		dir := t.TempDir()
		_, err := CopyTo(path, dir)
		require.NoError(t, err)
		if seq == 0 {
			continue
		}
		rep := verify(t, filepath.Join(dir, filepath.Base(path)), VerifyOptions{Copy: true})
		require.True(t, rep.OK, "%+v", rep.Findings)
		require.GreaterOrEqual(t, rep.LastSeq, seq, "all that was acknowledged before is in it")
		require.Nil(t, rep.Torn)
	}
	stop()
	<-done
}

// TestWhatWasLostComesBack: whatever of the older records is lost comes back, all newer ones stay, the
// key goes on, and neither the check nor the witness has anything to say.
func TestWhatWasLostComesBack(t *testing.T) {
	edit := func(old, new string) func(*testing.T, joint) {
		return func(t *testing.T, j joint) {
			files, lines := j.lines(t)
			for i := range lines {
				for k := range lines[i] {
					lines[i][k] = strings.Replace(lines[i][k], old, new, 1)
				}
				writeLines(t, files[i], lines[i])
			}
		}
	}
	for name, damage := range map[string]func(*testing.T, joint){
		"a record was edited": edit(`"evt-000007"`, `"evt-100007"`),
		"a record became garbage": func(t *testing.T, j joint) {
			files, lines := j.lines(t)
			lines[0][3] = "garbage"
			writeLines(t, files[0], lines[0])
		},
		"a record was replaced by one whose hash fits": func(t *testing.T, j joint) {
			files, lines := j.lines(t)
			lines[0][3], _ = rehash(lines[0][3], 4, prevOf(lines[0][3]), change)
			writeLines(t, files[0], lines[0])
		},
		"records in the middle were removed": func(t *testing.T, j joint) {
			files, lines := j.lines(t)
			writeLines(t, files[0], append(lines[0][:2:2], lines[0][5:]...))
		},
		"the first file was removed": func(t *testing.T, j joint) {
			files, _ := j.lines(t)
			require.NoError(t, os.Remove(files[0]))
		},
		"heads were removed": func(t *testing.T, j joint) {
			require.NoError(t, os.Remove(j.path+".heads"))
			files, _ := j.lines(t)
			require.NoError(t, os.Remove(files[0]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJoint(t, 4000)
			damage(t, j)
			require.False(t, verify(t, j.path, VerifyOptions{}).OK)
			out := j.join(t)
			require.Equal(t, JoinJoined, out.Outcome)
			require.True(t, out.Recorded)
			require.EqualValues(t, 40, out.Records)
			require.Positive(t, out.Added)
			rep := verify(t, j.path, VerifyOptions{Witness: j.witness})
			if name == "heads were removed" { // what signed 41 to 60 is nowhere
				require.Equal(t, map[Kind]bool{KindHeadsMissing: true}, kinds(rep))
			} else {
				require.True(t, rep.OK, "%+v", rep.Findings)
			}
			require.EqualValues(t, 61, rep.Records, "60, and the record of the join")
			require.Equal(t, out, with(j.lastNotice(t), true))
			require.DirExists(t, out.Kept)
			l := open(t, j.path, Options{})
			r, ok, err := l.Find("key-7")
			require.NoError(t, err)
			require.True(t, ok)
			require.EqualValues(t, 8, r.Seq)
			_, ok, err = l.Find("key-55")
			require.NoError(t, err)
			require.True(t, ok, "newer records stay")
			require.NoError(t, l.Close())
			require.Equal(t, JoinSame, j.join(t).Outcome, "once more changes nothing")
		})
	}
}

func with(j Joined, recorded bool) Joined { j.Recorded = recorded; return j }

func prevOf(line string) string {
	_, rest, _ := strings.Cut(line, prevMark)
	return rest[:hashHex]
}

// TestALedgerThatIsGoneComesBack: without its key a new one begins, and what was lost for good is told.
func TestALedgerThatIsGoneComesBack(t *testing.T) {
	t.Run("all of it", func(t *testing.T) {
		j := newJoint(t, 4000)
		j.remove(t)
		out := j.join(t)
		require.Equal(t, JoinJoined, out.Outcome)
		require.Empty(t, out.Kept, "there was nothing to be kept")
		require.EqualValues(t, 40, out.Added)
		rep := verify(t, j.path, VerifyOptions{})
		require.Equal(t, map[Kind]bool{KindGenesis: true}, kinds(rep), "%+v", rep.Findings)
		require.EqualValues(t, 42, rep.Records, "the copy's, that of the new key, and that of the join")
		l := open(t, j.path, Options{})
		now := l.Genesis()
		require.NoError(t, l.Close())
		rep = verify(t, j.path, VerifyOptions{Trusted: []string{rep.Genesis, now}})
		require.True(t, rep.OK, "%+v", rep.Findings)
		rep = verify(t, j.path, VerifyOptions{Trusted: []string{rep.Genesis, now}, Witness: j.witness})
		require.False(t, rep.OK, "a witness knows that 41 to 60 are lost")
	})
	t.Run("all of it, and an agent has begun anew without a record", func(t *testing.T) {
		j := newJoint(t, 4000)
		j.remove(t)
		require.NoError(t, open(t, j.path, Options{}).Close())
		require.Equal(t, JoinJoined, j.join(t).Outcome)
		require.Equal(t, map[Kind]bool{KindGenesis: true}, kinds(verify(t, j.path, VerifyOptions{})))
	})
	t.Run("the records", func(t *testing.T) {
		j := newJoint(t, 4000)
		j.remove(t, ".heads", ".key")
		require.Equal(t, JoinJoined, j.join(t).Outcome)
		rep := verify(t, j.path, VerifyOptions{Witness: j.witness})
		require.Equal(t, map[Kind]bool{KindDeleted: true}, kinds(rep), "%+v", rep.Findings)
		require.EqualValues(t, 41, rep.Findings[0].Seq)
		require.EqualValues(t, 60, rep.Findings[0].To)
		require.EqualValues(t, 61, rep.LastSeq, "it goes on where its signed heads end")
	})
}
