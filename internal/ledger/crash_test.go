package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

// TestMain runs the test binary as a writer that its parent kills.
func TestMain(m *testing.M) {
	if path := os.Getenv("SHIVX_LEDGER_CHILD"); path != "" {
		os.Exit(child(path))
	}
	if spec := os.Getenv("SHIVX_LEDGER_JOIN"); spec != "" {
		os.Exit(joinChild(spec))
	}
	os.Exit(m.Run())
}

// child appends as fast as it can from four goroutines and prints each acknowledged key.
func child(path string) int {
	l, err := Open(path, Options{MaxBytes: 30_000, HeadRecords: 20, HeadEvery: time.Millisecond})
	if err != nil {
		fmt.Println("error", err)
		if errors.Is(err, ErrLocked) {
			return 3
		}
		return 1
	}
	start, _ := l.Last()
	var wg sync.WaitGroup
	var out sync.Mutex
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d-%d", start, w, i)
				r, err := l.Append(context.Background(), key, eventOf(i))
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(r.Seq, key, r.Hash)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return 0
}

// runChild starts a writer, kills it after some acknowledged appends, and returns these.
func runChild(t *testing.T, path string, acks int) (lines []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SHIVX_LEDGER_CHILD="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		if lines = append(lines, sc.Text()); len(lines) == acks {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "the child is killed, it does not end by itself")
	return lines
}

func TestKilledWriterLosesNothingAcknowledged(t *testing.T) {
	path := tempLedger(t)
	rounds := 15
	if testing.Short() {
		rounds = 4
	}
	acked := map[string]string{}
	for round := range rounds {
		for _, line := range runChild(t, path, 37*(round+1)) {
			f := strings.Fields(line)
			if len(f) == 3 && len(f[2]) == hashHex { // the last line can be cut
				acked[f[1]] = line
			}
		}
		rep := verify(t, path, VerifyOptions{})
		require.True(t, rep.OK, "round %d: %+v", round, rep.Findings)
	}
	l := open(t, path, Options{})
	require.Greater(t, len(acked), 37*rounds)
	for key, line := range acked {
		r, ok, err := l.Find(key)
		require.NoError(t, err)
		require.True(t, ok, "acknowledged record %s is gone", key)
		require.Equal(t, line, fmt.Sprintf("%d %s %s", r.Seq, key, r.Hash))
	}
	require.NoError(t, l.Close())
	rep := verify(t, path, VerifyOptions{})
	require.True(t, rep.OK, "%+v", rep.Findings)
	require.Greater(t, rep.Segments, 2)
	require.EqualValues(t, rep.LastSeq, rep.Records)
}

func TestLockBetweenProcesses(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SHIVX_LEDGER_CHILD="+path)
	out, err := cmd.Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 3, exit.ExitCode(), "%s", out)
	require.Contains(t, string(out), "held by process "+strconv.Itoa(os.Getpid()))
	_, err = Open(path, Options{})
	require.ErrorIs(t, err, ErrLocked)
	require.NotEmpty(t, shivx.HintOf(err))
	require.NoError(t, l.Close())
	runChild(t, path, 1)
}

func TestTornTailAtEachByte(t *testing.T) {
	s := sample{path: tempLedger(t)}
	l := open(t, s.path, Options{})
	appendN(t, l, 0, 3)
	_, err := l.Sign(t.Context())
	require.NoError(t, err)
	appendN(t, l, 3, 1) // not under a head, as a record under way would be
	// Taken before Close signs.
	s = s.copy(t)
	require.NoError(t, l.Close())
	data, err := os.ReadFile(s.path)
	require.NoError(t, err)
	last := strings.LastIndexByte(string(data[:len(data)-1]), '\n') + 1

	for end := last; end < len(data); end++ {
		s := s.copy(t)
		require.NoError(t, os.Truncate(s.path, int64(end)))
		rep := verify(t, s.path, VerifyOptions{})
		require.True(t, rep.OK, "cut at byte %d: %+v", end, rep.Findings)
		require.Equal(t, end > last, rep.Torn != nil)
		if rep.Torn != nil {
			require.Equal(t, TornTail{Segment: s.path, Line: 4, Bytes: int64(end - last)}, *rep.Torn)
		}
		l := open(t, s.path, Options{})
		recs := appendN(t, l, 3, 1)
		require.NoError(t, l.Close())
		rep = verify(t, s.path, VerifyOptions{})
		require.True(t, rep.OK, "repaired after byte %d: %+v", end, rep.Findings)
		require.Nil(t, rep.Torn)
		if end == last {
			require.EqualValues(t, 4, recs[0].Seq)
			continue
		}
		require.EqualValues(t, 5, recs[0].Seq, "record 4 says that a torn line was moved aside")
		var notice struct {
			EventType string   `json:"event_type"`
			Details   tornLine `json:"details"`
		}
		tail, err := Tail(s.path, 2)
		require.NoError(t, err)
		require.NoError(t, tail[0].Decode(&notice))
		require.Equal(t, "ledger.torn_tail", notice.EventType)
		aside, err := os.ReadFile(notice.Details.File)
		require.NoError(t, err)
		require.Equal(t, data[last:end], aside)
	}
}

func TestCrashInTheMiddleOfRotation(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	recs := appendN(t, l, 0, 5)
	require.NoError(t, l.Close())
	require.NoError(t, os.Rename(path, sealedPath(path, 1, 5)))

	rep := verify(t, path, VerifyOptions{})
	require.True(t, rep.OK, "%+v", rep.Findings)
	require.Equal(t, recs, readAll(t, path))
	l = open(t, path, Options{})
	require.Equal(t, recs, appendN(t, l, 0, 5))
	recs = append(recs, appendN(t, l, 5, 1)...)
	require.EqualValues(t, 6, recs[5].Seq)
	require.Equal(t, recs, readAll(t, path))
	require.NoError(t, l.Close())
	require.True(t, verify(t, path, VerifyOptions{}).OK)
}

func TestFailedSyncIsNeverAcknowledged(t *testing.T) {
	path := tempLedger(t)
	var failing atomic.Bool
	l := open(t, path, Options{fdatasync: func(f *os.File) error {
		if failing.Load() {
			return os.NewSyscallError("fdatasync", unix.EIO)
		}
		return fdatasync(f)
	}})
	recs := appendN(t, l, 0, 3)
	failing.Store(true)
	for range 3 {
		_, err := l.Append(t.Context(), "key-3", eventOf(3))
		require.ErrorIs(t, err, unix.EIO)
		require.NotEmpty(t, shivx.HintOf(err))
		_, ok, err := l.Find("key-3")
		require.NoError(t, err)
		require.False(t, ok)
	}
	require.Equal(t, recs, readAll(t, path), "what failed is taken back")
	failing.Store(false)
	recs = append(recs, appendN(t, l, 3, 3)...)
	require.EqualValues(t, 6, recs[5].Seq)
	require.NoError(t, l.Close())
	require.Equal(t, recs, readAll(t, path))
	require.True(t, verify(t, path, VerifyOptions{}).OK)
}

func TestLostAcknowledgedRecordFailsTheLedger(t *testing.T) {
	path := tempLedger(t)
	var failing atomic.Bool
	l := open(t, path, Options{fdatasync: func(f *os.File) error {
		if f.Name() != path || !failing.CompareAndSwap(true, false) {
			return fdatasync(f)
		}
		// The disk gives back something else in the third of four records than it has confirmed.
		info, err := f.Stat()
		if err == nil {
			_, err = f.WriteAt([]byte("X"), info.Size()*5/8)
		}
		return errors.Join(os.NewSyscallError("fdatasync", unix.EIO), err)
	}})
	appendN(t, l, 0, 3)
	failing.Store(true)
	_, err := l.Append(t.Context(), "", eventOf(3))
	require.ErrorIs(t, err, unix.EIO)
	for range 2 {
		_, err = l.Append(t.Context(), "", eventOf(3))
		require.ErrorIs(t, err, ErrDamaged)
		require.NotEmpty(t, shivx.HintOf(err))
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	testenv.Tmpfs(t, dir, "size=256k")
	path := filepath.Join(dir, "operational_ledger.ndjson")
	l := open(t, path, Options{})
	fill := func(size int) error { return os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, size), 0o600) }
	recs := appendN(t, l, 0, 10)
	for size := 250 << 10; fill(size) != nil; size -= 4 << 10 {
	}
	big := map[string]string{"text": strings.Repeat("x", 100_000)}
	_, err := l.Append(t.Context(), "", big)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Contains(t, shivx.HintOf(err), "free space")
	require.Equal(t, recs, readAll(t, path))
	require.NoError(t, os.Remove(filepath.Join(dir, "ballast")))
	_, err = l.Append(t.Context(), "", big)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	rep := verify(t, path, VerifyOptions{})
	require.True(t, rep.OK, "%+v", rep.Findings)
	require.EqualValues(t, 11, rep.Records)
}
