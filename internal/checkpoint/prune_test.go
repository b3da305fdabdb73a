package checkpoint

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/store"
	"github.com/shivx/shivx/internal/testenv"
)

// rot damages the head of a checkpoint and returns its file.
func rot(t *testing.T, s *Store, c Checkpoint) string {
	t.Helper()
	path := filepath.Join(s.home, storeDir, "goldens", c.ID+".golden")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text[10] ^= 1
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

// later waits until a checkpoint gets another time than those before in its name, which has seconds.
func later() { time.Sleep(1100 * time.Millisecond) }

func TestADamagedCheckpointIsRemovedOnceThereAreOthers(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	var said bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&said, nil))
	state := config.State{Paths: []string{dir}}
	write(t, dir+"/a", "1")
	bad := take(t, s, "1", state)
	path := rot(t, s, bad)
	all, err := s.List(ctx, "redis")
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, bad.ID)
	require.Empty(t, all)
	_, err = s.Get(ctx, bad.ID)
	require.ErrorIs(t, err, ErrDamaged)
	_, err = s.Prune(ctx, "redis", KindHealthy, 1)
	require.NoError(t, err)
	require.FileExists(t, path, "it is all there is")

	later()
	good := take(t, s, "2", state)
	latest, ok, err := s.Latest(ctx, "redis", KindHealthy)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, good.ID, latest.ID)
	// While somebody uses the store it stays, and nobody says that it went.
	_, _, release, err := s.use(ctx, good.ID)
	require.NoError(t, err)
	said.Reset()
	_, err = s.Prune(ctx, "redis", KindHealthy, 3)
	require.NoError(t, err)
	require.FileExists(t, path)
	require.Contains(t, said.String(), "stays for now")
	require.NotContains(t, said.String(), "was removed")
	release()
	// That of another component would keep its data, too.
	_, err = s.Prune(ctx, "nginx", KindFault, 3)
	require.NoError(t, err)
	require.NoFileExists(t, path)
	require.Contains(t, said.String(), "was removed")
	all, err = s.List(ctx, "redis")
	require.NoError(t, err)
	require.Len(t, all, 1)
}

func TestWhichDamagedCheckpointsAreUseless(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	info := func(set, id string, err error) store.Info { return store.Info{Set: set, ID: id, Err: err} }
	all := []store.Info{
		info("redis.fault", "20261123-110000-000001", nil),
		info("redis.fault", "20261123-100000-000002", ErrDamaged), // older
		info("redis.fault", "20261123-113000-000003", ErrDamaged), // the newest
		info("redis.fault", "20291123-100000-000004", ErrDamaged), // of a clock that was wrong
		info("redis.fault", "20261123-100000-000005", os.ErrPermission),
		info("nginx.fault", "20261123-100000-000006", ErrDamaged), // alone in its set
		info("backup", "20261123-110000-000007", nil),
		info("backup", "20261123-100000-000008", ErrDamaged), // of somebody else
	}
	require.Equal(t, []store.Info{all[1], all[3]}, useless(all, now))
}

// TestAPruneThatHasNothingToDoTakesNoLock: others may use the store for hours.
func TestAPruneThatHasNothingToDoTakesNoLock(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	c := take(t, s, "1", config.State{Paths: []string{dir}})
	_, _, release, err := s.use(ctx, c.ID)
	require.NoError(t, err)
	defer release()
	began := time.Now()
	removed, err := s.Prune(ctx, "redis", KindHealthy, 1)
	require.NoError(t, err)
	require.Empty(t, removed)
	require.Less(t, time.Since(began), patience)
}

// TestAPruneIsStopped at any instant: what is there stays whole, and a later one does the rest.
func TestAPruneIsStopped(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	var said bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&said, nil))
	state := config.State{Paths: []string{dir}}
	noise := make([]byte, 20_000)
	for i := range 60 { // half of the files change, so that packs get sparse
		for n := range 20 {
			if n%2 == 0 || i%5 == 0 {
				for k := range noise {
					noise[k] = byte(r.Uint32())
				}
				write(t, fmt.Sprintf("%s/%d", dir, n), string(noise))
			}
		}
		take(t, s, fmt.Sprint(i), state)
		if i%3 != 2 {
			continue
		}
		s.removing, s.repacking = bound{first: time.Duration(r.Int64N(8_000_000))}, bound{first: time.Duration(r.Int64N(8_000_000))}
		s.repacked = time.Time{}
		_, err := s.Prune(ctx, "redis", KindHealthy, 2)
		require.NoError(t, err)
	}
	t.Logf("%d prunes were stopped", bytes.Count(said.Bytes(), []byte("not removed in time")))
	require.Contains(t, said.String(), "not removed in time")
	all, err := s.List(ctx, "redis")
	require.NoError(t, err)
	require.Greater(t, len(all), 1)
	for _, c := range all {
		require.NoError(t, s.Verify(ctx, c))
	}
	s.removing, s.repacking, s.repacked = bound{first: time.Minute}, bound{first: time.Minute}, time.Time{}
	before := packs(t, s)
	_, _, err = s.MakeRoom(ctx, "redis", KindFault, 2)
	require.NoError(t, err)
	all, err = s.List(ctx, "redis")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.LessOrEqual(t, packs(t, s), before)
	for _, c := range all {
		require.NoError(t, s.Verify(ctx, c))
	}
}

// small is a store on a disk of that size, and a path of state elsewhere.
func small(t *testing.T, size string) (s *Store, home, state string) {
	t.Helper()
	home = t.TempDir() + "/disk"
	testenv.Tmpfs(t, home, "size="+size)
	s, err := Open(Options{Var: home})
	require.NoError(t, err)
	return s, home, t.TempDir()
}

func random(t *testing.T, path string, size int) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(size), 1))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func TestACheckpointLeavesRoom(t *testing.T) {
	s, _, dir := small(t, "60m")
	write(t, dir+"/a", "little, but there is less")
	_, err := s.Take(context.Background(), Order{Key: "k", Component: "redis", Kind: KindFault, State: config.State{Paths: []string{dir}}})
	require.ErrorIs(t, err, unix.ENOSPC)
	require.True(t, Full(err))

	s, home, dir := small(t, "80m")
	random(t, dir+"/a", 10<<20)
	state := config.State{Paths: []string{dir}}
	c := take(t, s, "fits", state)
	random(t, dir+"/b", 31<<20)
	_, err = s.Take(context.Background(), Order{Key: "k", Component: "redis", Kind: KindFault, State: state})
	require.ErrorIs(t, err, unix.ENOSPC)
	var disk unix.Statfs_t
	require.NoError(t, unix.Statfs(home, &disk))
	require.Greater(t, int64(disk.Bavail)*disk.Bsize, int64(roomLeft)-8<<20, "what is under way when the disk is looked at")

	// There is room for the folder, but not for that and what is to be left.
	_, err = s.Folder(context.Background(), c.ID)
	require.ErrorIs(t, err, unix.ENOSPC)
	left, err := os.ReadDir(filepath.Join(s.home, viewDir))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestRoomIsMadeForTheNextCheckpoint(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	state := config.State{Paths: []string{dir}}
	for i, kind := range []Kind{KindFault, KindFault, KindFault, KindHealthy, KindHealthy, KindHealthy} {
		random(t, dir+"/a", 100_000+i)
		_, err := s.Take(ctx, Order{Key: fmt.Sprint(i), Component: "redis", Kind: kind, State: state})
		require.NoError(t, err)
	}
	count := func() map[Kind]int {
		all, err := s.List(ctx, "redis")
		require.NoError(t, err)
		n := map[Kind]int{}
		for _, c := range all {
			n[c.Kind]++
		}
		return n
	}
	_, _, err := s.MakeRoom(ctx, "redis", KindHealthy, 3)
	require.NoError(t, err)
	require.Equal(t, map[Kind]int{KindFault: 3, KindHealthy: 2}, count())
	_, _, err = s.MakeRoom(ctx, "redis", KindHealthy, 1)
	require.NoError(t, err)
	require.Equal(t, map[Kind]int{KindFault: 1, KindHealthy: 1}, count(), "the last one stays until there is another")
}

// TestRoomIsMadeOfWhatNobodyNeeds: what checkpoints that failed, and folders that were being made, have left.
func TestRoomIsMadeOfWhatNobodyNeeds(t *testing.T) {
	s, dir, ctx := newStore(t), t.TempDir(), context.Background()
	random(t, dir+"/a", 100_000)
	take(t, s, "k", config.State{Paths: []string{dir}})
	before := packs(t, s)
	junk := filepath.Join(s.home, storeDir, "packs", "00", fmt.Sprintf("%064d.pack", 0))
	write(t, junk, "dead")
	_, err := s.Prune(ctx, "redis", KindHealthy, 1)
	require.NoError(t, err)
	require.FileExists(t, junk, "nothing else was to be removed")
	removed, freed, err := s.MakeRoom(ctx, "redis", KindHealthy, 1)
	require.NoError(t, err)
	require.Empty(t, removed)
	require.True(t, freed)
	require.NoFileExists(t, junk)
	require.Equal(t, before, packs(t, s))
	_, freed, err = s.MakeRoom(ctx, "redis", KindHealthy, 1)
	require.NoError(t, err)
	require.False(t, freed)
	view := filepath.Join(s.home, viewDir, "redis.healthy", "20260101-000000-012345"+makingSuffix)
	write(t, view+"/files/a", "of a process that was killed")
	_, freed, err = s.MakeRoom(ctx, "redis", KindHealthy, 1)
	require.NoError(t, err)
	require.True(t, freed)
	require.NoDirExists(t, view)
}
