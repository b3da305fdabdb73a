package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

// job is what a child process is told to do, and before which of its steps it dies.
type job struct {
	Dir  string
	Seed uint64
	Step int64
}

const jobVariable = "GOLDEN_STORE_TEST_JOB"

func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		var j job
		err := json.Unmarshal([]byte(text), &j)
		if err == nil {
			err = j.run()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func (j job) tree() tree {
	tr := tree{}
	for i := range uint64(20) {
		tr[fmt.Sprintf("/tree/%03d", i)] = content(3*(j.Seed*1000+i)+1, 200_000)
	}
	return tr
}

func (j job) run() error {
	f, err := OpenFolder(j.Dir)
	if err != nil {
		return err
	}
	m := &mortal{Backend: f, lock: f}
	m.left.Store(j.Step)
	s, err := Open(context.Background(), m, options())
	if err != nil {
		return err
	}
	s.pace = pace{packSize: 1 << 18} // each pack gets its name as soon as it is full
	_, err = backup(context.Background(), s, j.tree(), testHeader("web"), 2)
	return err
}

// mortal is a backend whose process is killed, by kill -9, at one of the steps that write.
type mortal struct {
	Backend
	lock Locker
	left atomic.Int64
}

func (m *mortal) step() {
	if m.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (m *mortal) Lock(ctx context.Context, mode Mode) (func() error, error) {
	return m.lock.Lock(ctx, mode)
}

func (m *mortal) Create(ctx context.Context) (File, error) {
	m.step()
	f, err := m.Backend.Create(ctx)
	return &mortalFile{f, m}, err
}

func (m *mortal) Sync(ctx context.Context) error {
	m.step()
	return m.Backend.Sync(ctx)
}

type mortalFile struct {
	File
	m *mortal
}

// Write writes half of p before it may be killed.
func (f *mortalFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p[:len(p)/2])
	if err != nil {
		return n, err
	}
	f.m.step()
	more, err := f.File.Write(p[n:])
	return n + more, err
}

func (f *mortalFile) Publish(ctx context.Context, name string) error {
	f.m.step()
	err := f.File.Publish(ctx, name)
	f.m.step()
	return err
}

// killed runs the job in a child; it says whether that was killed.
func (j job) killed(t *testing.T) bool {
	text, err := json.Marshal(j)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", jobVariable+"="+string(text))
	out, err := cmd.CombinedOutput()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if !failed {
		require.NoError(t, err)
		return false
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	require.Equal(t, syscall.SIGKILL, status.Signal(), "%s", out)
	return true
}

func TestKilledBackup(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	disk := filepath.Join(t.TempDir(), "disk")
	testenv.Tmpfs(t, disk, "size=100m") // what is killed needs no slow disk: nothing is lost from memory
	dir := filepath.Join(disk, "store")
	f, err := MakeFolder(dir)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	s, err := Create(t.Context(), f, options())
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	first := smallTree(0)
	g := mustBackup(t, s, first)
	kills, orphans := 0, 0
	for i := range 40 {
		clearBut(t, s, g.Header().ID)
		j := job{Dir: dir, Seed: uint64(i) + 2, Step: 1 + r.Int64N(100)}
		if j.killed(t) {
			kills++
		}
		all, err := s.List(t.Context(), "")
		require.NoError(t, err)
		for _, i := range all {
			require.NoError(t, i.Err, "a golden is half there")
			g, err := s.Find(t.Context(), i.ID)
			require.NoError(t, err)
			require.NoError(t, g.Check(t.Context(), nil, nil))
		}
		if len(all) == 1 && size(t, filepath.Join(dir, "packs")) > 1<<20 {
			orphans++
		}
		again := mustBackup(t, s, j.tree())
		requireTree(t, j.tree(), again)
		require.Less(t, size(t, filepath.Join(dir, "packs")), int64(20*200_000+1<<19), "what the killed backup stored is stored again")
		left, err := os.ReadDir(filepath.Join(dir, tmpName))
		require.NoError(t, err)
		require.Empty(t, left, "a killed backup left something behind")
	}
	requireTree(t, first, g)
	t.Logf("killed %d times, %d times packs without a golden were there", kills, orphans)
	require.Greater(t, kills, 15)
	require.Greater(t, orphans, 5)
}
