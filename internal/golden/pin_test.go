package golden_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/store"
)

func pinned(o *golden.Options) { o.Pin = filepath.Join(o.Dir, "store.json") }

// TestStoreThatIsNotThere: a disk that is not mounted is no reason to begin a new store in its place, or to find
// that all is well.
func TestStoreThatIsNotThere(t *testing.T) {
	m := newMachine(t, pinned)
	m.take("")
	require.FileExists(t, m.o.Pin)
	away := m.store + ".away"
	require.NoError(t, os.Rename(m.store, away))
	for _, mounted := range []bool{false, true} { // without the folder, and with an empty one
		if mounted {
			require.NoError(t, os.Mkdir(m.store, 0o700))
		}
		_, _, err := m.Take(t.Context(), golden.Order{Set: "shop"}, nil)
		require.ErrorIs(t, err, golden.ErrOtherStore)
		require.Contains(t, shivx.HintOf(err), "is mounted")
		_, err = m.Verify(t.Context(), golden.VerifyOrder{All: true}, nil)
		require.ErrorIs(t, err, golden.ErrOtherStore)
		_, err = m.List(t.Context(), "")
		require.ErrorIs(t, err, golden.ErrOtherStore)
		entries, _ := os.ReadDir(m.store)
		require.Empty(t, entries)
	}
	require.NoError(t, os.Remove(m.store))
	require.NoError(t, os.Rename(away, m.store))
	m.take("again")
}

// TestStoreThatIsAnother is read, and nothing is stored there until somebody says that it is meant to be.
func TestStoreThatIsAnother(t *testing.T) {
	m := newMachine(t, pinned)
	m.take("")
	require.NoError(t, os.RemoveAll(m.store))
	other := newMachine(t)
	other.take("theirs")
	m.store = other.store
	list, err := m.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, _, err = m.Take(t.Context(), golden.Order{Set: "shop"}, nil)
	require.ErrorIs(t, err, golden.ErrOtherStore)
	require.Contains(t, shivx.HintOf(err), "remove "+m.o.Pin)
	require.NoError(t, os.Remove(m.o.Pin))
	m.take("")
}

// TestKeyThatIsAnother: somebody has put a store of the same id there, with a key of his own, and no golden that
// could tell.
func TestKeyThatIsAnother(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	m := newMachine(t, pinned, func(o *golden.Options) {
		o.Keys = func() ([]age.Recipient, []age.Identity, error) {
			return []age.Recipient{identity.Recipient()}, []age.Identity{identity}, nil
		}
	})
	m.take("")
	id, err := os.ReadFile(filepath.Join(m.store, "golden.json"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(m.store))
	f, err := store.MakeFolder(m.store)
	require.NoError(t, err)
	s, err := store.Create(t.Context(), f, store.Options{Recipients: []age.Recipient{identity.Recipient()}, CloseBackend: true})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.WriteFile(filepath.Join(m.store, "golden.json"), id, 0o600))
	_, _, err = m.Take(t.Context(), golden.Order{Set: "shop"}, nil)
	require.ErrorIs(t, err, golden.ErrOtherStore)
	require.ErrorContains(t, err, "its key is another one")
}

// TestGoldenOfThisHostByAnotherKey: another host's key is trusted for its own goldens, and does not say what is
// restored here, nor what is unchanged. A former key of this host is named.
func TestGoldenOfThisHostByAnotherKey(t *testing.T) {
	other := newMachine(t)
	theirs := other.take("")
	raw, err := base64.StdEncoding.DecodeString(theirs.Key)
	require.NoError(t, err)
	m := newMachine(t, func(o *golden.Options) { o.Trusted = []ed25519.PublicKey{raw} })
	m.store = other.store
	ref := golden.Ref{Set: "shop", Golden: shivx.GoldenLatest}
	_, err = m.Find(t.Context(), ref)
	require.NoError(t, err, "a host that was installed anew has no key yet")

	mine := m.take("mine")
	got, err := m.Find(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, mine.ID, got.ID)
	theirs = other.take("newer")
	_, err = m.Find(t.Context(), ref)
	require.ErrorIs(t, err, store.ErrUntrusted)
	require.Contains(t, shivx.HintOf(err), "--trust "+theirs.Key)
	_, err = m.Verify(t.Context(), golden.VerifyOrder{Set: "shop", Golden: theirs.ID}, nil)
	require.ErrorIs(t, err, store.ErrUntrusted)
	ref.Trust = []string{theirs.Key}
	got, err = m.Find(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, theirs.ID, got.ID)

	// A backup goes on from its own golden, and a run does not take another's for its own.
	// What was written a moment ago is read once more, as its time could be that of two contents.
	var stored shivx.GoldenCapture
	for try := 0; try == 0 || stored.Unchanged < stored.Files && try < 100; try++ {
		_, stored, err = m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup}, nil)
		require.NoError(t, err)
	}
	require.Equal(t, stored.Files, stored.Unchanged)
	_, _, err = other.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup, Run: "their run"}, nil)
	require.NoError(t, err)
	before, err := m.List(t.Context(), "")
	require.NoError(t, err)
	_, _, err = m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup, Run: "their run"}, nil)
	require.NoError(t, err)
	after, err := m.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, after, len(before)+1)

	// Of another host, its key is all that is needed.
	other.o.Host = "web-2"
	other.restart()
	elsewhere := other.take("")
	_, err = m.Find(t.Context(), golden.Ref{Set: "shop", Host: "web-2", Golden: elsewhere.ID})
	require.NoError(t, err)
}

// lateLock is a backend in which a prune comes before each shared lock.
type lateLock struct {
	store.Backend
	prune func()
}

func (l lateLock) Lock(ctx context.Context, mode store.Mode) (func() error, error) {
	if mode == store.Shared {
		l.prune()
	}
	return l.Backend.(store.Locker).Lock(ctx, mode)
}

// TestGoldenIsReadOnceItIsLocked: a prune that comes first may store what it needs elsewhere.
func TestGoldenIsReadOnceItIsLocked(t *testing.T) {
	m := newMachine(t, func(o *golden.Options) { o.Sets[0].Keep = store.Policy{Last: 1} })
	m.take("")
	m.write("d3/random", "short")
	last := m.take("")
	plain := golden.New(m.o)
	t.Cleanup(func() { require.NoError(t, plain.Close()) })
	pruned := 0
	open := m.o.Backend
	m.o.Backend = func(ctx context.Context, create bool) (store.Backend, error) {
		b, err := open(ctx, create)
		return lateLock{b, func() {
			p, err := plain.Prune(ctx, golden.PruneOrder{}, nil)
			require.NoError(t, err)
			pruned += len(p.Removed)
		}}, err
	}
	m.restart()
	v, err := m.Verify(t.Context(), golden.VerifyOrder{Set: "shop", Golden: last.ID}, nil)
	require.NoError(t, err)
	require.Equal(t, 1, pruned)
	require.Zero(t, v.Damaged, "%+v", v.Damage)
}
