package checkpoint

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

func TestTakeIsIdempotentByKey(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	write(t, dir+"/a", "1")
	state := config.State{Paths: []string{dir}}
	var wg sync.WaitGroup
	got := make([]Checkpoint, 4)
	for i := range got {
		wg.Go(func() { got[i], _ = s.Take(context.Background(), "same", "redis", KindFault, state, nil) })
	}
	wg.Wait()
	write(t, dir+"/a", "2")
	again, err := s.Take(context.Background(), "same", "redis", KindFault, state, nil)
	require.NoError(t, err)
	for _, c := range got {
		require.Equal(t, again.ID, c.ID)
	}
	other, err := s.Take(context.Background(), "other", "redis", KindFault, state, nil)
	require.NoError(t, err)
	require.NotEqual(t, again.ID, other.ID)
	latest, ok, err := s.Latest("redis", KindFault)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, other.ID, latest.ID)
	_, ok, err = s.Latest("redis", KindHealthy)
	require.NoError(t, err)
	require.False(t, ok)
}

func TestTakeRecordsWhatItCannotCopy(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	require.NoError(t, syscall.Mkfifo(dir+"/pipe", 0o600))
	write(t, dir+"/log/x.log", "left out")
	write(t, dir+"/data", "kept")
	c := take(t, s, "k", config.State{Paths: []string{dir, dir + "/data", "/nowhere/at/all"}, Exclude: []string{"**/*.log"}})
	require.Equal(t, []string{dir + "/pipe"}, c.Skipped)
	require.Equal(t, []string{"/nowhere/at/all"}, c.Missing)
	require.Equal(t, []string{"/nowhere/at/all", dir}, c.Paths)
	var paths []string
	for _, f := range c.Files {
		paths = append(paths, f.Path)
	}
	require.Equal(t, []string{dir, dir + "/data", dir + "/log"}, paths)
}

func TestTakeNoticesFilesThatKeepChanging(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	write(t, dir+"/still", "1")
	log, err := os.Create(dir + "/busy")
	require.NoError(t, err)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = log.WriteString("line\n")
			}
		}
	}()
	c := take(t, s, "k", config.State{Paths: []string{dir}})
	close(stop)
	<-stopped
	require.Equal(t, []string{dir + "/busy"}, c.Unstable)
	require.NoError(t, s.Verify(context.Background(), c))
}

func TestFileChangedInTheLastClockTickIsCopiedAgain(t *testing.T) {
	file := t.TempDir() + "/a"
	write(t, file, "1")
	take := &taking{c: &Checkpoint{}, have: map[string]taken{}}
	e, _, err := look(file, file)
	require.NoError(t, err)
	e.sign.ctime = time.Now().UnixNano()
	take.keep(e, e.file())
	require.Len(t, take.changed([]entry{e}), 1)
	e.sign.ctime = time.Now().Add(-time.Second).UnixNano()
	take.keep(e, e.file())
	require.Empty(t, take.changed([]entry{e}))
}

func TestTakeRunsTheCommandBefore(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	state := config.State{Paths: []string{dir}, Before: &config.Command{Argv: []string{"touch", dir + "/flushed"}}}
	c := take(t, s, "k", state)
	require.Len(t, c.Files, 2)
	state.Before.Argv = []string{"sh", "-c", "echo disk on fire; exit 4"}
	_, err := s.Take(context.Background(), "k2", "redis", KindFault, state, nil)
	require.ErrorContains(t, err, "disk on fire")
	left, err := os.ReadDir(filepath.Join(s.root, "redis"))
	require.NoError(t, err)
	require.Len(t, left, 1, "a failed checkpoint left something behind")
}

func TestTakeCanBeInterruptedAndReportsProgress(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	sparse(t, dir+"/big", 2<<30)
	ctx, cancel := context.WithCancel(context.Background())
	var seen int64
	_, err := s.Take(ctx, "k", "redis", KindFault, config.State{Paths: []string{dir}}, func(done, total int64) {
		seen = total
		cancel()
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, int64(2<<30), seen)
}

func TestTakeRefusesBadInput(t *testing.T) {
	s := newStore(t)
	for name, call := range map[string]func() error{
		"relative path": func() error {
			_, err := s.Take(context.Background(), "k", "redis", KindFault, config.State{Paths: []string{"data"}}, nil)
			return err
		},
		"root": func() error {
			_, err := s.Take(context.Background(), "k", "redis", KindFault, config.State{Paths: []string{"/"}}, nil)
			return err
		},
		"pattern": func() error {
			_, err := s.Take(context.Background(), "k", "redis", KindFault, config.State{Paths: []string{"/x"}, Exclude: []string{"["}}, nil)
			return err
		},
		"component": func() error {
			_, err := s.Take(context.Background(), "k", "../redis", KindFault, config.State{}, nil)
			return err
		},
		"kind": func() error {
			_, err := s.Take(context.Background(), "k", "redis", "odd", config.State{}, nil)
			return err
		},
		"id": func() error { _, err := s.Get("../../etc"); return err },
	} {
		require.Error(t, call(), name)
	}
	_, err := s.Get("redis-000001-20260101T000000Z-fault-0123456789ab")
	require.NotEmpty(t, shivx.HintOf(err))
}

func TestPruneKeepsTheNewestAndThoseInUse(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	state := config.State{Paths: []string{dir}}
	var ids []string
	for i := range 5 {
		ids = append(ids, take(t, s, strconv.Itoa(i), state).ID)
	}
	fault, err := s.Take(context.Background(), "f", "redis", KindFault, state, nil)
	require.NoError(t, err)
	inUse, err := tryLock(filepath.Join(s.root, "redis", ids[0]), syscall.LOCK_SH)
	require.NoError(t, err)
	removed, err := s.Prune("redis", KindHealthy, 2)
	require.NoError(t, err)
	require.Equal(t, ids[1:3], removed)
	inUse.unlock()
	removed, err = s.Prune("redis", KindHealthy, 2)
	require.NoError(t, err)
	require.Equal(t, ids[:1], removed)
	list, err := s.List("redis")
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, fault.ID, list[2].ID)
	entries, err := os.ReadDir(filepath.Join(s.root, "redis"))
	require.NoError(t, err)
	require.Len(t, entries, 3)
}
