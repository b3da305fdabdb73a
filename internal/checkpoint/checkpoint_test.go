package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/store"
)

func TestTakeIsIdempotentByKey(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	write(t, dir+"/a", "1")
	o := Order{Key: "same", Component: "redis", Kind: KindFault, State: config.State{Paths: []string{dir}}}
	var wg sync.WaitGroup
	got := make([]Checkpoint, 4)
	for i := range got {
		wg.Go(func() { got[i], _ = s.Take(context.Background(), o) })
	}
	wg.Wait()
	write(t, dir+"/a", "2")
	again, err := s.Take(context.Background(), o)
	require.NoError(t, err)
	for _, c := range got {
		require.Equal(t, again.ID, c.ID)
	}
	o.Key = "other"
	other, err := s.Take(context.Background(), o)
	require.NoError(t, err)
	require.NotEqual(t, again.ID, other.ID)
	latest, ok, err := s.Latest(context.Background(), "redis", KindFault)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, other, latest)
	require.Equal(t, "other", latest.Key)
	_, ok, err = s.Latest(context.Background(), "redis", KindHealthy)
	require.NoError(t, err)
	require.False(t, ok)
}

func TestTakeRecordsWhatItCannotCopy(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	sock, err := net.Listen("unix", dir+"/sock")
	require.NoError(t, err)
	defer func() { _ = sock.Close() }()
	write(t, dir+"/log/x.log", "left out")
	write(t, dir+"/data", "kept")
	c := take(t, s, "k", config.State{Paths: []string{dir, dir + "/data", "/nowhere/at/all"}, Exclude: []string{"**/*.log"}})
	require.Equal(t, []string{dir + "/sock"}, c.Skipped)
	require.Empty(t, c.Lacking)
	require.Equal(t, []string{"/nowhere/at/all"}, c.Missing)
	require.Equal(t, []string{"/nowhere/at/all", dir}, c.Paths)
	require.Equal(t, int64(3), c.Entries, "the folder, data and log")
	require.Equal(t, int64(4), c.Bytes)
}

func TestACheckpointCostsWhatHasChanged(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	for i := range 50 {
		write(t, dir+"/"+strconv.Itoa(i), string(bytes.Repeat([]byte{byte(i)}, 50_000))+strconv.Itoa(i))
	}
	state := config.State{Paths: []string{dir}}
	take(t, s, "1", state)
	first := packs(t, s)
	write(t, dir+"/7", "other")
	take(t, s, "2", state)
	require.Less(t, packs(t, s)-first, int64(4096))
}

// packs is how many bytes the blocks in the store have.
func packs(t *testing.T, s *Store) (n int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(filepath.Join(s.home, storeDir, "packs"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	}))
	return n
}

func TestTakeRunsTheCommandBefore(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	state := config.State{Paths: []string{dir}, Before: &config.Command{Argv: []string{"touch", dir + "/flushed"}}}
	c := take(t, s, "k", state)
	require.Equal(t, int64(2), c.Entries)
	state.Before.Argv = []string{"sh", "-c", "echo disk on fire; exit 4"}
	_, err := s.Take(context.Background(), Order{Key: "k2", Component: "redis", Kind: KindHealthy, State: state})
	require.ErrorContains(t, err, "disk on fire")
	all, err := s.List(context.Background(), "redis")
	require.NoError(t, err)
	require.Len(t, all, 1)
}

func TestWhatIsNotConfirmedIsNoCheckpoint(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	write(t, dir+"/a", "1")
	sick := errors.New("it became unhealthy")
	o := Order{Key: "k", Component: "redis", Kind: KindHealthy, State: config.State{Paths: []string{dir}}, Confirm: func(context.Context) error { return sick }}
	_, err := s.Take(context.Background(), o)
	require.ErrorIs(t, err, sick)
	_, ok, err := s.Latest(context.Background(), "redis", KindHealthy)
	require.NoError(t, err)
	require.False(t, ok)
	o.Confirm = nil
	_, err = s.Take(context.Background(), o)
	require.NoError(t, err)
	o.Key, o.State.Paths = "k2", []string{"/nowhere", "/at/all"}
	_, err = s.Take(context.Background(), o)
	require.ErrorIs(t, err, ErrNothing)
}

func TestTakeCanBeInterruptedAndReportsProgress(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/big", bytes.Repeat([]byte("0123456789abcdef"), 8<<20), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	var seen int64
	_, err := s.Take(ctx, Order{Key: "k", Component: "redis", Kind: KindHealthy, State: config.State{Paths: []string{dir}},
		Progress: func(done, _ int64) {
			seen = max(seen, done)
			cancel()
		}})
	require.ErrorIs(t, err, context.Canceled)
	require.Positive(t, seen)
	all, err := s.List(context.Background(), "redis")
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestTakeRefusesBadInput(t *testing.T) {
	s, ctx := newStore(t), context.Background()
	take := func(o Order) func() error {
		return func() error { _, err := s.Take(ctx, o); return err }
	}
	for name, call := range map[string]func() error{
		"relative path": take(Order{Key: "k", Component: "redis", Kind: KindFault, State: config.State{Paths: []string{"data"}}}),
		"root":          take(Order{Key: "k", Component: "redis", Kind: KindFault, State: config.State{Paths: []string{"/"}}}),
		"pattern":       take(Order{Key: "k", Component: "redis", Kind: KindFault, State: config.State{Paths: []string{"/x"}, Exclude: []string{"["}}}),
		"component":     take(Order{Key: "k", Component: "../redis", Kind: KindFault}),
		"kind":          take(Order{Key: "k", Component: "redis", Kind: "odd"}),
		"id":            func() error { _, err := s.Get(ctx, "../../etc"); return err },
		"set":           func() error { _, err := s.Get(ctx, "redis.odd/20260101-000000-012345"); return err },
		"golden":        func() error { _, err := s.Get(ctx, "redis.fault/../x"); return err },
	} {
		require.Error(t, call(), name)
	}
	_, err := s.Get(ctx, "redis.fault/20260101-000000-012345")
	require.ErrorContains(t, err, "there is no checkpoint")
	require.NotEmpty(t, shivx.HintOf(err))
}

func TestPruneKeepsTheNewestAndThoseInUse(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	state := config.State{Paths: []string{dir}}
	var ids []string
	for i := range 5 {
		write(t, dir+"/a", strconv.Itoa(i))
		ids = append(ids, take(t, s, strconv.Itoa(i), state).ID)
	}
	fault, err := s.Take(ctx, Order{Key: "f", Component: "redis", Kind: KindFault, State: state})
	require.NoError(t, err)
	view, err := s.Folder(ctx, ids[0])
	require.NoError(t, err)
	_, _, release, err := s.use(ctx, ids[0])
	require.NoError(t, err)
	removed, err := s.Prune(ctx, "redis", KindHealthy, 2)
	require.NoError(t, err)
	require.Empty(t, removed, "one is in use")
	require.DirExists(t, view)
	release()
	before := packs(t, s)
	removed, err = s.Prune(ctx, "redis", KindHealthy, 2)
	require.NoError(t, err)
	require.ElementsMatch(t, ids[:3], removed)
	require.Less(t, packs(t, s), before, "data that nobody needs is left")
	require.NoDirExists(t, view)
	list, err := s.List(ctx, "redis")
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, fault.ID, list[2].ID)
	require.NoError(t, s.Verify(ctx, list[0]))
}

// TestTheClockDoesNotDecide: a host whose clock was years ahead for a while still goes on from the checkpoints
// taken since.
func TestTheClockDoesNotDecide(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	state := config.State{Paths: []string{dir}}
	write(t, dir+"/a", "1")
	first := take(t, s, "1", state)
	second := take(t, s, "2", state)
	g, err := s.open(ctx)
	require.NoError(t, err)
	defer g.Close()
	// The newest by its number is the oldest by its time.
	require.True(t, second.Taken.After(first.Taken))
	w, err := g.Begin(ctx)
	require.NoError(t, err)
	h, _, err := g.find(ctx, first.ID)
	require.NoError(t, err)
	header := h.Header()
	header.Name, header.Run = "000009", "9"
	for e, err := range h.Entries(ctx) {
		require.NoError(t, err)
		for i := range e.BlockCount() {
			require.True(t, w.Use(e.Block(i)))
		}
		require.NoError(t, w.Entry(e))
	}
	ahead, err := w.Commit(ctx, header)
	require.NoError(t, err)
	third := take(t, s, "3", state)
	require.Equal(t, 10, third.number)
	latest, _, err := s.Latest(ctx, "redis", KindHealthy)
	require.NoError(t, err)
	require.Equal(t, third.ID, latest.ID)
	_, err = s.Prune(ctx, "redis", KindHealthy, 2)
	require.NoError(t, err)
	all, err := s.List(ctx, "redis")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "redis.healthy/"+ahead.Header().ID, all[0].ID)
}

func TestAForeignCheckpointIsNotBelieved(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	write(t, dir+"/a", "1")
	c := take(t, s, "1", config.State{Paths: []string{dir}})
	require.NoError(t, os.RemoveAll(s.keys))
	_, err := s.Get(ctx, c.ID)
	require.ErrorIs(t, err, store.ErrUntrusted)
	_, ok, err := s.Latest(ctx, "redis", KindHealthy)
	require.NoError(t, err)
	require.False(t, ok)
}

func TestCheckpointsOfAnEarlierLayoutAreLeftAlone(t *testing.T) {
	vars := t.TempDir()
	old := filepath.Join(vars, "checkpoints/redis/redis-000001-20260101T000000Z-fault-0123456789ab/manifest.json")
	write(t, old, "{}")
	var said bytes.Buffer
	s, err := Open(Options{Var: vars, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(said.Bytes(), []byte("\n")))
	require.Contains(t, said.String(), filepath.Join(vars, "checkpoints/redis"))
	take(t, s, "k", config.State{Paths: []string{t.TempDir()}})
	require.FileExists(t, old)
}
