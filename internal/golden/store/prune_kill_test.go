package store

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

const (
	pruneDirVariable   = "GOLDEN_PRUNE_TEST_DIR"
	pruneStepVariable  = "GOLDEN_PRUNE_TEST_STEP"
	pruneGoneVariable  = "GOLDEN_PRUNE_TEST_GONE"
	pruneBatchVariable = "GOLDEN_PRUNE_TEST_BATCH"
)

// TestPruneChild is the process that is killed.
func TestPruneChild(t *testing.T) {
	dir := os.Getenv(pruneDirVariable)
	if dir == "" {
		return
	}
	step, err := strconv.Atoi(os.Getenv(pruneStepVariable))
	require.NoError(t, err)
	s := openStore(t, dir, options())
	killer := &deadly{Backend: s.backend}
	killer.left.Store(int64(step))
	batch, err := strconv.ParseInt(os.Getenv(pruneBatchVariable), 10, 64)
	require.NoError(t, err)
	pruneAll(t, s.view(killer, nil), os.Getenv(pruneGoneVariable), batch)
}

// pruneAll does everything that a prune can do. The golden that goes, if it is still there, lies between
// others, so that packs get sparse there too.
func pruneAll(t *testing.T, s *Store, gone string, batch int64) {
	t.Helper()
	s.pace.packSize = 100_000
	o := PruneOptions{Policy: keepLast(5), Repack: 0.9, Batch: batch, Parity: &ParityOptions{}}
	if _, err := s.Find(t.Context(), gone); err == nil {
		o.Remove = []string{gone}
	}
	_, err := s.Prune(t.Context(), o)
	require.NoError(t, err)
}

// deadly ends the process by kill -9 before one of the steps that change the store.
type deadly struct {
	Backend
	left atomic.Int64
}

func (d *deadly) step() {
	if d.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (d *deadly) Remove(ctx context.Context, names ...string) error {
	for _, n := range names {
		d.step()
		if err := d.Backend.Remove(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (d *deadly) Sync(ctx context.Context) error {
	d.step()
	return d.Backend.Sync(ctx)
}

func (d *deadly) Create(ctx context.Context) (File, error) {
	f, err := d.Backend.Create(ctx)
	return &deadlyFile{f, d}, err
}

type deadlyFile struct {
	File
	d *deadly
}

func (f *deadlyFile) Write(p []byte) (int, error) {
	f.d.step()
	return f.File.Write(p)
}

func (f *deadlyFile) Publish(ctx context.Context, name string) error {
	f.d.step()
	return f.File.Publish(ctx, name)
}

// killedPrune prunes in a child; it says whether the child was killed.
func killedPrune(t *testing.T, dir, gone string, batch int64, step int) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPruneChild$")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", pruneDirVariable+"="+dir, pruneStepVariable+"="+strconv.Itoa(step), pruneGoneVariable+"="+gone,
		pruneBatchVariable+"="+strconv.FormatInt(batch, 10))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "%v", err)
	status, _ := exit.Sys().(syscall.WaitStatus)
	require.Equal(t, syscall.SIGKILL, status.Signal(), "%s", out)
	return true
}

// A prune is killed before each of its steps, and ends well in the next attempt.
func TestKilledPrune(t *testing.T) {
	t.Run("all at once", func(t *testing.T) { killPrunes(t, 0, 1) })
	t.Run("in batches", func(t *testing.T) { killPrunes(t, 1, 3) })
}

func killPrunes(t *testing.T, batch int64, stride int) {
	template, work := memoryDir(t), memoryDir(t)
	st := newLab(t, labFolder(t, template))
	goldens, _ := daily(t, st, 9)
	_, err := st.Protect(t.Context(), ParityOptions{})
	require.NoError(t, err)
	rounds, gone := 0, goldens[7].Header().ID
	if raced() {
		stride *= 4 // a child is slow to start then
	}
	for step := 1; ; step += stride {
		dir := filepath.Join(work, strconv.Itoa(step))
		require.NoError(t, os.CopyFS(dir, os.DirFS(template)))
		if !killedPrune(t, dir, gone, batch, step) {
			break
		}
		rounds++
		s := openStore(t, dir, options())
		require.GreaterOrEqual(t, requireAllGood(t, s), 4, "after step %d", step)
		require.False(t, scrubbed(t, s, ScrubOptions{}).Damaged())
		pruneAll(t, s, gone, batch)
		kept := requireAllGood(t, s)
		require.Contains(t, []int{4, 5}, kept, "the fifth goes or stays, depending on which went before the kill")
		for _, g := range []*Golden{goldens[5], goldens[6], goldens[8]} {
			_, err := s.Find(t.Context(), g.Header().ID)
			require.NoError(t, err)
		}
		require.Empty(t, scrubbed(t, s, ScrubOptions{}).Problems, "after step %d and another prune", step)
		left, err := os.ReadDir(filepath.Join(dir, tmpName))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	t.Logf("killed %d times", rounds)
	require.GreaterOrEqual(t, rounds, 60/stride)
}

// A prune that has no room to write packs anew says so, and has freed what it could; with some room it
// ends.
func TestPruneOnAFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	testenv.Tmpfs(t, dir, "size=4m")
	st := newLab(t, labFolder(t, filepath.Join(dir, "store")))
	now := time.Now()
	for i := range 4 {
		st.at = now.Add(-time.Duration(4-i) * time.Hour)
		data := fileSet(uint64(i), 1, 400_000)
		data["/etc/shared"] = noise(77, 300_000+i) // so that the whole of it is stored anew each time
		data["/etc/next"] = noise(uint64(i+1)*1000, 400_000)
		st.backup(t, "etc", data)
	}
	st.at = time.Time{}
	fill := func() {
		f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		require.NoError(t, err)
		defer f.Close()
		block := make([]byte, 4096)
		for err == nil {
			_, err = f.Write(block)
		}
		require.ErrorIs(t, err, unix.ENOSPC)
	}
	fill()
	// Nothing goes for its age: there is no room at all for the repacking.
	st.makeSparse(t)
	fill()
	o := PruneOptions{Repack: 1}
	_, err := st.Prune(t.Context(), o)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Contains(t, shivx.HintOf(err), "free space")
	require.Equal(t, 3, requireAllGood(t, st.Store))

	// Old goldens free the room that their successors need.
	o.Policy = keepLast(1)
	r, err := st.Prune(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, 2, r.Goldens)
	require.Positive(t, r.Written)
	require.Equal(t, 1, requireAllGood(t, st.Store))
	require.Empty(t, scrubbed(t, st.Store, ScrubOptions{}).Problems)
}

// makeSparse removes the oldest golden by hand, whose successor needs a part of its pack.
func (s *lab) makeSparse(t testing.TB) {
	t.Helper()
	all, err := s.List(t.Context(), "")
	require.NoError(t, err)
	oldest := all[len(all)-1]
	require.NoError(t, s.backend.Remove(t.Context(), goldenName(oldest.Set, oldest.ID)))
}

// BenchmarkPrune100000Blocks removes half of the goldens of a store with 100,000 blocks, and repacks.
func BenchmarkPrune100000Blocks(b *testing.B) {
	const goldens, each = 20, 5000
	for b.Loop() {
		b.StopTimer()
		st := newLab(b, labFolder(b, b.TempDir()))
		now := time.Now()
		for i := range uint64(goldens) {
			st.at = now.Add(-time.Duration(goldens-i) * time.Hour)
			data := fileSet(i, each/2, 4000)
			for p, d := range fileSet(i+1000, each/2, 4000) {
				data[p+"-own"] = d
			}
			for p, d := range fileSet(i+1, each/2, 4000) {
				data[p+"-next"] = d
			}
			st.backup(b, "etc", data)
		}
		st.at = time.Time{}
		b.StartTimer()
		begun := time.Now()
		r, err := st.Prune(b.Context(), PruneOptions{Policy: func(format.Header) Policy { return Policy{Last: goldens / 2} }, Repack: 0.9})
		require.NoError(b, err)
		require.Equal(b, goldens/2, r.Goldens)
		b.ReportMetric(time.Since(begun).Seconds(), "s")
		b.ReportMetric(float64(r.Packs), "packs-removed")
		b.ReportMetric(float64(r.Rewritten), "goldens-rewritten")
	}
}
