package golden_test

import (
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/signing"
	"github.com/shivx/shivx/internal/golden/store"
)

func TestWholeStateComesBack(t *testing.T) {
	m := newMachine(t)
	before := state(t, m.tree)
	var told []shivx.GoldenProgress
	first, got, err := m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup, Name: "good", Run: "run-1"},
		func(p shivx.GoldenProgress) { told = append(told, p) })
	require.NoError(t, err)
	require.NotEmpty(t, told)
	require.Equal(t, shivx.GoldenStepTake, told[len(told)-1].Step)
	require.EqualValues(t, 0, got.Unchanged)
	require.Positive(t, got.BytesStored)

	again, _, err := m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup, Run: "run-1"}, nil)
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID, "the run has taken it already")

	m.spoil()
	changed, _, err := m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup}, nil)
	require.NoError(t, err)
	require.NotEqual(t, first.ID, changed.ID)

	for i, ref := range []string{first.ID, first.ID[:20], "good"} {
		m.spoilIfWhole()
		m.restore("r"+string(rune('a'+i)), ref)
		m.same(before)
	}
	list, err := m.List(t.Context(), "shop")
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, changed.ID, list[0].ID, "the newest is the first")
	latest, err := m.Find(t.Context(), golden.Ref{Set: "shop", Golden: shivx.GoldenLatest})
	require.NoError(t, err)
	require.Equal(t, changed.ID, latest.ID)
	_, err = m.Find(t.Context(), golden.Ref{Set: "shop", Golden: first.ID[:3]})
	require.ErrorIs(t, err, golden.ErrUnknownGolden)
	require.ErrorContains(t, err, " or ")
	require.NotEmpty(t, shivx.HintOf(err))
}

// spoilIfWhole spoils a tree that was restored.
func (m *machine) spoilIfWhole() {
	if _, err := os.Stat(filepath.Join(m.tree, "new")); err != nil {
		m.spoil()
	}
}

func TestUnchangedTreeIsNotReadAgain(t *testing.T) {
	m := newMachine(t)
	first := m.take("")
	// A file that was written a moment ago is read once more: its time could be that of two contents. That is
	// over after a few goldens; how long each takes is up to the disk, so nothing is said of it.
	var got shivx.GoldenCapture
	for try := 0; try == 0 || got.BytesRead > 0 && try < 100; try++ {
		var err error
		_, got, err = m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup}, nil)
		require.NoError(t, err)
		require.Zero(t, got.BytesStored)
	}
	require.Zero(t, got.BytesRead)
	require.Equal(t, got.Files, got.Unchanged)
	require.Equal(t, first.Files, got.Files)
}

func TestPlansChangeNothing(t *testing.T) {
	m := newMachine(t)
	_, got, err := m.Take(t.Context(), golden.Order{Set: "shop", Plan: true}, nil)
	require.NoError(t, err)
	require.Positive(t, got.BytesRead)
	for _, p := range []string{m.store, m.o.Dir} {
		_, err := os.Stat(p)
		require.ErrorIs(t, err, os.ErrNotExist, "a plan has made something")
	}
	info := m.take("")
	m.spoil()
	tree, stored := state(t, m.tree), state(t, m.store)
	changes, err := m.PlanRestore(t.Context(), golden.Restore{Set: "shop", Golden: info.ID}, nil)
	require.NoError(t, err)
	require.True(t, changes.Any())
	sum := golden.Summary(changes)
	require.Positive(t, sum.Added)
	require.Positive(t, sum.Removed)
	require.Positive(t, sum.Changed)
	require.Contains(t, sum.Paths, "~ "+filepath.Join(m.tree, "d0/f4"))
	_, _, err = m.Take(t.Context(), golden.Order{Set: "shop", Plan: true}, nil)
	require.NoError(t, err)
	_, err = m.Prune(t.Context(), golden.PruneOrder{Plan: true}, nil)
	require.NoError(t, err)
	m.same(tree)
	require.Equal(t, stored, state(t, m.store))
	left, err := m.Pending()
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestRetention(t *testing.T) {
	m := newMachine(t, func(o *golden.Options) { o.Sets[0].Keep = store.Policy{Last: 2} })
	old := m.take("")
	snap, _, err := m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindSnapshot}, nil)
	require.NoError(t, err)
	kept, _, err := m.Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup, Until: time.Now().Add(time.Hour)}, nil)
	require.NoError(t, err)
	m.spoil()
	m.take("")
	last := m.take("")
	require.NotEqual(t, shivx.GoldenKindSnapshot, m.latest().Kind, "latest keeps to backups where it is asked to")
	p, err := m.Prune(t.Context(), golden.PruneOrder{Set: "shop", Kind: shivx.GoldenKindBackup}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{old.ID}, p.Removed, "neither the snapshot nor what must be kept")
	require.Equal(t, 3, p.Kept)
	_, err = m.Find(t.Context(), golden.Ref{Set: "shop", Golden: old.ID})
	require.ErrorIs(t, err, golden.ErrUnknownGolden)
	for _, id := range []string{snap.ID, kept.ID, last.ID} {
		v, err := m.Verify(t.Context(), golden.VerifyOrder{Set: "shop", Golden: id}, nil)
		require.NoError(t, err)
		require.Zero(t, v.Damaged)
	}
}

func (m *machine) latest() shivx.GoldenInfo {
	m.t.Helper()
	info, err := m.Find(m.t.Context(), golden.Ref{Set: "shop", Golden: shivx.GoldenLatest, Kind: shivx.GoldenKindBackup})
	require.NoError(m.t, err)
	return info
}

func TestDamageIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	for _, pattern := range []string{"packs/*/*.pack", "goldens/shop/*.golden"} {
		m := newMachine(t)
		info := m.take("")
		m.spoil()
		tree := state(t, m.tree)
		m.damage(pattern)
		v, err := m.Verify(t.Context(), golden.VerifyOrder{Set: "shop", Golden: info.ID}, nil)
		if err == nil {
			require.Positive(t, v.Damaged, pattern)
			require.NotEmpty(t, v.Damage[0].What)
		} else {
			require.ErrorIs(t, err, format.ErrDamaged)
		}
		for _, inPlace := range []bool{false, true} {
			_, err = m.Stage(t.Context(), golden.Restore{ID: "r", Set: "shop", Golden: info.ID, InPlace: inPlace}, nil)
			require.ErrorIs(t, err, format.ErrDamaged, pattern)
		}
		m.same(tree)
		left, err := m.Pending()
		require.NoError(t, err)
		require.Empty(t, left)
		all, err := m.Verify(t.Context(), golden.VerifyOrder{All: true}, nil)
		require.NoError(t, err)
		require.Positive(t, all.Damaged, pattern)
	}
}

func TestParityRepairs(t *testing.T) {
	m := newMachine(t, func(o *golden.Options) { o.Parity = 10 })
	before := state(t, m.tree)
	info := m.take("")
	m.damage("packs/*/*.pack")
	v, err := m.Verify(t.Context(), golden.VerifyOrder{All: true}, nil)
	require.NoError(t, err)
	require.Positive(t, v.Damaged)
	require.Equal(t, info.ID, v.Damage[0].Golden, "it is said what is lost with it")
	v, err = m.Verify(t.Context(), golden.VerifyOrder{All: true, Repair: true}, nil)
	require.NoError(t, err)
	require.Zero(t, v.Damaged)
	require.Positive(t, v.Repaired)
	m.spoil()
	m.restore("r", info.ID)
	m.same(before)
}

func TestEncryptedStore(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	stranger, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	with := func(id age.Identity) func(*golden.Options) {
		return func(o *golden.Options) {
			o.Keys = func() ([]age.Recipient, []age.Identity, error) {
				return []age.Recipient{identity.Recipient()}, []age.Identity{id}, nil
			}
		}
	}
	m := newMachine(t, with(identity))
	m.write("word", "a word that must not be readable in the store")
	before := state(t, m.tree)
	info := m.take("")
	for path, content := range state(t, m.store) {
		require.NotContains(t, content, "must not be readable", path)
		require.NotContains(t, content, "d3/random", path)
	}
	m.spoil()
	m.restore("r", info.ID)
	m.same(before)
	with(stranger)(&m.o)
	m.restart()
	_, err = m.List(t.Context(), "")
	require.ErrorIs(t, err, store.ErrIdentity)
	require.NotEmpty(t, shivx.HintOf(err))
}

func TestGoldenOfAnotherHost(t *testing.T) {
	m := newMachine(t)
	before := state(t, m.tree)
	theirs := m.take("")
	m.o.Host, m.o.Dir = "web-2", filepath.Join(t.TempDir(), "var")
	m.restart()
	_, err := m.Find(t.Context(), golden.Ref{Set: "shop", Golden: shivx.GoldenLatest})
	require.ErrorIs(t, err, golden.ErrUnknownGolden, "latest is of this host")
	ref := golden.Ref{Set: "shop", Golden: shivx.GoldenLatest, Host: "web-1"}
	_, err = m.Find(t.Context(), ref)
	require.ErrorIs(t, err, store.ErrUntrusted)
	list, err := m.List(t.Context(), "")
	require.NoError(t, err)
	require.ErrorIs(t, list[0].Err, store.ErrUntrusted)
	require.Equal(t, theirs.Key, list[0].Key, "the list says which key it is")
	_, err = m.Stage(t.Context(), golden.Restore{ID: "r", Set: "shop", Golden: theirs.ID}, nil)
	require.ErrorIs(t, err, store.ErrUntrusted)
	ref.Trust = []string{theirs.Key}
	info, err := m.Find(t.Context(), ref)
	require.NoError(t, err)
	m.spoil()
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID, Trust: ref.Trust}
	_, err = m.Swap(t.Context(), r)
	require.NoError(t, err)
	_, err = m.Finish(t.Context(), r, false)
	require.NoError(t, err)
	m.same(before)

	m.o.Trusted = []ed25519.PublicKey{key(t, theirs)}
	m.restart()
	_, err = m.Find(t.Context(), golden.Ref{Set: "shop", Golden: theirs.ID})
	require.NoError(t, err)
	ours := m.take("")
	p, err := m.Prune(t.Context(), golden.PruneOrder{}, nil)
	require.NoError(t, err)
	require.Empty(t, p.Removed, "the goldens of other hosts are theirs")
	require.NotEqual(t, ours.Key, theirs.Key)
	_, err = signing.ParseKey("nonsense")
	require.NotEmpty(t, shivx.HintOf(err))
}

func TestInvalidConfigurationIsRefused(t *testing.T) {
	m := newMachine(t)
	m.write("conf/a.json", `{"good": true}`)
	m.o.Sets[0].Validations = []config.GoldenValidation{{Match: "/**/*.json", Format: "json"}}
	m.restart()
	good := m.take("")
	m.write("conf/a.json", `{"good": tru`)
	bad := m.take("")
	n, err := m.Validate(t.Context(), golden.Restore{ID: "g", Set: "shop", Golden: good.ID})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	done, err := m.Discard(t.Context(), golden.Restore{ID: "g", Set: "shop"})
	require.NoError(t, err)
	require.True(t, done)
	_, err = m.Validate(t.Context(), golden.Restore{ID: "b", Set: "shop", Golden: bad.ID})
	require.ErrorIs(t, err, golden.ErrInvalid)
	require.ErrorContains(t, err, filepath.Join(m.tree, "conf/a.json"))
}

func TestUnknownThings(t *testing.T) {
	m := newMachine(t)
	_, _, err := m.Take(t.Context(), golden.Order{Set: "shoop"}, nil)
	require.ErrorIs(t, err, golden.ErrUnknownSet)
	_, err = m.Find(t.Context(), golden.Ref{Set: "shop", Golden: "x"})
	require.ErrorIs(t, err, golden.ErrUnknownGolden)
	require.Contains(t, shivx.HintOf(err), "golden backup shop")
	list, err := m.List(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, list)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = m.Take(ctx, golden.Order{Set: "shop"}, nil)
	require.ErrorIs(t, err, context.Canceled)
}
