package golden_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/signing"
	"github.com/shivx/shivx/internal/golden/store"
)

// machine is a host in a test: a tree, and a place for a store.
type machine struct {
	t     *testing.T
	tree  string
	store string
	o     golden.Options
	*golden.Engine
}

// newMachine returns a host with a tree of its own.
func newMachine(t *testing.T, change ...func(*golden.Options)) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, tree: filepath.Join(dir, "srv"), store: filepath.Join(dir, "store")}
	m.o = golden.Options{Host: "web-1", Dir: filepath.Join(dir, "var")}
	m.o.Backend = func(_ context.Context, create bool) (store.Backend, error) {
		if create {
			return store.MakeFolder(m.store)
		}
		return store.OpenFolder(m.store)
	}
	m.o.Sets = []golden.Set{{Name: "shop", Paths: []string{m.tree}, Keep: store.Policy{Last: 100}, Snapshots: store.Policy{Last: 100}}}
	for _, c := range change {
		c(&m.o)
	}
	m.restart()
	for i := range 20 {
		m.write(fmt.Sprintf("d%d/f%d", i%4, i), strings.Repeat(fmt.Sprint("line ", i, "\n"), 500*i))
	}
	m.write("secret", "0600")
	require.NoError(t, os.Chmod(filepath.Join(m.tree, "secret"), 0o600))
	require.NoError(t, os.Symlink("d0/f0", filepath.Join(m.tree, "link")))
	require.NoError(t, os.Link(filepath.Join(m.tree, "d1/f1"), filepath.Join(m.tree, "d2/hard")))
	random := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random)
	m.write("d3/random", string(random))
	return m
}

// restart gives the host a new engine, as after the end of its process.
func (m *machine) restart() {
	if m.Engine != nil {
		require.NoError(m.t, m.Close())
	}
	m.Engine = golden.New(m.o)
	e := m.Engine
	m.t.Cleanup(func() { require.NoError(m.t, e.Close()) })
}

func (m *machine) write(name, content string) {
	m.t.Helper()
	path := filepath.Join(m.tree, name)
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(m.t, os.WriteFile(path, []byte(content), 0o644))
}

// spoil changes, removes and adds.
func (m *machine) spoil() {
	m.t.Helper()
	m.write("d0/f4", "edited")
	m.write("new/file", "added")
	require.NoError(m.t, os.Remove(filepath.Join(m.tree, "d1/f5")))
	require.NoError(m.t, os.Chmod(filepath.Join(m.tree, "secret"), 0o666))
	require.NoError(m.t, os.RemoveAll(filepath.Join(m.tree, "d3")))
	require.NoError(m.t, os.Symlink("/etc", filepath.Join(m.tree, "d3")))
}

// state is what a tree is, by an independent walk: mode, owner, size, time, link and content of everything.
func state(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		what := fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %d links %v %s", st.Nlink, info.ModTime().UnixNano(), data)
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " " + link
		}
		rel, _ := filepath.Rel(root, path)
		out[rel] = what
		return nil
	}))
	return out
}

func (m *machine) same(want map[string]string) {
	m.t.Helper()
	require.True(m.t, maps.Equal(want, state(m.t, m.tree)), "the tree is another")
}

func (m *machine) take(name string) shivx.GoldenInfo {
	m.t.Helper()
	info, _, err := m.Take(m.t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup, Name: name}, nil)
	require.NoError(m.t, err)
	return info
}

// restore does a whole restore.
func (m *machine) restore(id, ref string) {
	m.t.Helper()
	info, err := m.Find(m.t.Context(), golden.Ref{Set: "shop", Golden: ref})
	require.NoError(m.t, err)
	r := golden.Restore{ID: id, Set: "shop", Golden: info.ID}
	_, err = m.Stage(m.t.Context(), r, nil)
	require.NoError(m.t, err)
	_, err = m.Validate(m.t.Context(), r)
	require.NoError(m.t, err)
	_, err = m.Swap(m.t.Context(), r)
	require.NoError(m.t, err)
	_, err = m.Finish(m.t.Context(), r, false)
	require.NoError(m.t, err)
}

// object returns the path of one file of the store.
func (m *machine) object(pattern string) string {
	m.t.Helper()
	paths, err := filepath.Glob(filepath.Join(m.store, pattern))
	require.NoError(m.t, err)
	require.NotEmpty(m.t, paths, pattern)
	return paths[0]
}

// damage flips a byte in the middle of a file of the store.
func (m *machine) damage(pattern string) {
	m.t.Helper()
	path := m.object(pattern)
	data, err := os.ReadFile(path)
	require.NoError(m.t, err)
	data[len(data)/2] ^= 1
	require.NoError(m.t, os.Chmod(path, 0o600))
	require.NoError(m.t, os.WriteFile(path, data, 0o600))
}

func key(t *testing.T, info shivx.GoldenInfo) ed25519.PublicKey {
	t.Helper()
	k, err := signing.ParseKey(info.Key)
	require.NoError(t, err)
	return k
}
