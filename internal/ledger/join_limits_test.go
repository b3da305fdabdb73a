package ledger

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

func TestWhatHasAllTheCopyHasIsLeftAlone(t *testing.T) {
	j := newJoint(t, 4000)
	before := contents(t, filepath.Dir(j.path))
	require.Equal(t, JoinSame, j.join(t).Outcome)
	require.Equal(t, before, contents(t, filepath.Dir(j.path)))

	files, lines := j.lines(t) // damage that the copy cannot mend stays to be seen
	last := len(lines) - 1
	lines[last][len(lines[last])-1] = "garbage"
	writeLines(t, files[last], lines[last])
	before = contents(t, filepath.Dir(j.path))
	require.Equal(t, JoinSame, j.join(t).Outcome)
	require.Equal(t, before, contents(t, filepath.Dir(j.path)))
}

// contents reads a folder's files but for the lock, which only opening makes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range files {
		if f.IsDir() || strings.HasSuffix(f.Name(), ".lock") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		out[f.Name()] = string(data)
	}
	return out
}

func TestAnotherLedgerIsKeptBeside(t *testing.T) {
	for name, diverge := range map[string]func(*testing.T, joint){
		"from the start": func(t *testing.T, j joint) {
			j.remove(t)
			l := open(t, j.path, Options{})
			appendN(t, l, 500, 50)
			require.NoError(t, l.Close())
		},
		"since a while": func(t *testing.T, j joint) { // an old copy was put back, and went on
			files, lines := j.lines(t)
			for _, f := range files[1:] {
				require.NoError(t, os.RemoveAll(f))
			}
			require.NoError(t, os.Remove(files[0]))
			writeLines(t, j.path, lines[0][:5])
			require.NoError(t, os.Remove(j.path+".heads"))
			l := open(t, j.path, Options{})
			appendN(t, l, 500, 50)
			require.NoError(t, l.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJoint(t, 4000)
			diverge(t, j)
			was := readAll(t, j.path)
			out := j.join(t)
			require.Equal(t, JoinDiverged, out.Outcome)
			require.Equal(t, out, with(j.lastNotice(t), true))
			require.Equal(t, was, readAll(t, j.path)[:len(was)], "what lives stays")
			kept := filepath.Join(out.Kept, filepath.Base(j.path))
			rep := verify(t, kept, VerifyOptions{Copy: true})
			require.True(t, rep.OK, "%+v", rep.Findings)
			require.Equal(t, out.Hash, rep.LastHash)
			n := len(readAll(t, j.path))
			require.Equal(t, out, j.join(t))
			require.Len(t, readAll(t, j.path), n, "it is recorded once")
		})
	}
}

func TestNothingIsReplacedUnderAWriter(t *testing.T) {
	j := newJoint(t, 4000)
	files, _ := j.lines(t)
	require.NoError(t, os.Remove(files[0]))
	l := open(t, j.path, Options{})
	before := contents(t, filepath.Dir(j.path))
	out := j.join(t)
	require.Equal(t, JoinBusy, out.Outcome)
	require.False(t, out.Recorded)
	require.Equal(t, before, contents(t, filepath.Dir(j.path)))
	require.True(t, verify(t, filepath.Join(out.Kept, filepath.Base(j.path)), VerifyOptions{Copy: true}).OK)
	key, fields := out.Record(l.opts.Now())
	_, err := l.Append(t.Context(), key, fields)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.Equal(t, out, j.lastNotice(t))
	again, err := Join(t.Context(), j.path, j.copied, joinOptions("restore-2"))
	require.NoError(t, err)
	require.Equal(t, JoinJoined, again.Outcome, "it is joined once nobody has it open")
	require.True(t, verify(t, j.path, VerifyOptions{Witness: j.witness}).OK)
}

// TestADamagedCopyCountsUpToItsFault: what stands behind it is not believed.
func TestADamagedCopyCountsUpToItsFault(t *testing.T) {
	j := newJoint(t, 0)
	data, err := os.ReadFile(j.copied)
	require.NoError(t, err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines[20] = []byte("garbage\n")
	require.NoError(t, os.WriteFile(j.copied, bytes.Join(lines, nil), 0o600))
	j.remove(t)
	out := j.join(t)
	require.EqualValues(t, 20, out.Records)
	require.NotContains(t, kinds(verify(t, j.path, VerifyOptions{})), KindEdited)
}

// TestAnyDamageToOldRecordsIsMended changes one byte at many places: in an old record it is mended, in a
// newer one it is left to be seen.
func TestAnyDamageToOldRecordsIsMended(t *testing.T) {
	whole := newJoint(t, 0)
	data, err := os.ReadFile(whole.path)
	require.NoError(t, err)
	old := bytes.Index(data, []byte(`{"seq":41,`))
	rnd := rand.New(rand.NewPCG(1, 2))
	mended := 0
	for range 40 {
		j := joint{whole.copy(t), whole.copied}
		at := rnd.IntN(len(data))
		changed := bytes.Clone(data)
		changed[at] ^= byte(1 << rnd.IntN(8))
		require.NoError(t, os.WriteFile(j.path, changed, 0o600))
		out := j.join(t)
		rep := verify(t, j.path, VerifyOptions{Witness: j.witness})
		if at < old {
			mended++
			require.Equal(t, JoinJoined, out.Outcome, "byte %d", at)
			require.True(t, rep.OK, "byte %d: %+v", at, rep.Findings)
			continue
		}
		require.Equal(t, JoinSame, out.Outcome, "byte %d", at)
		require.False(t, rep.OK, "byte %d", at)
	}
	require.Greater(t, mended, 10)
}

func TestAJoinOnAFullDiskChangesNothing(t *testing.T) {
	whole := newJoint(t, 4000)
	dir := t.TempDir()
	testenv.Tmpfs(t, dir, "size=256k")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Dir(whole.path))))
	j := joint{sample{path: filepath.Join(dir, filepath.Base(whole.path)), witness: whole.witness}, whole.copied}
	files, _ := j.lines(t)
	require.NoError(t, os.Remove(files[0]))
	ballast := filepath.Join(dir, "ballast")
	for size := 250 << 10; os.WriteFile(ballast, make([]byte, size), 0o600) != nil; size -= 4 << 10 {
	}
	before := contents(t, dir)
	_, err := Join(t.Context(), j.path, j.copied, joinOptions("restore-1"))
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NotEmpty(t, shivx.HintOf(err))
	require.Equal(t, before, contents(t, dir))
	require.NoDirExists(t, joinFolder(j.path))
	require.NoError(t, os.Remove(ballast))
	require.Equal(t, JoinJoined, j.join(t).Outcome)
	require.True(t, verify(t, j.path, VerifyOptions{Witness: j.witness}).OK)
}
