package golden_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/store"
)

// TestAStoreThatCannotBeOpenedIsMended damages each of the two files without which a store cannot be opened,
// in several ways: nothing works then but the repair, to which the error leads.
func TestAStoreThatCannotBeOpenedIsMended(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	m := newMachine(t, func(o *golden.Options) {
		o.Parity = 20
		o.Keys = func() ([]age.Recipient, []age.Identity, error) {
			return []age.Recipient{identity.Recipient()}, []age.Identity{identity}, nil
		}
	})
	taken := m.take("")
	all := golden.VerifyOrder{All: true}
	mend := golden.VerifyOrder{All: true, Repair: true}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	for name, damage := range map[string]struct {
		file string
		how  func([]byte) []byte // nil: removed
	}{
		"identity flipped": {"golden.json", flip(30)},
		"identity lost":    {"golden.json", nil},
		"identity cut off": {"golden.json", func(b []byte) []byte { return b[:10] }},
		"another format":   {"golden.json", flip(10)},
		"key lost":         {"key.age", nil},
		"key flipped":      {"key.age", func(b []byte) []byte { b[len(b)-5] ^= 1; return b }},
		"key for nobody":   {"key.age", flip(40)},
		"identity emptied": {"golden.json", func([]byte) []byte { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(m.store, damage.file)
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			if damage.how == nil {
				require.NoError(t, os.Remove(path))
			} else {
				require.NoError(t, os.WriteFile(path, damage.how(append([]byte(nil), whole...)), 0o600))
			}
			_, err = m.Verify(t.Context(), all, nil)
			require.Error(t, err)
			require.True(t, errors.Is(err, format.ErrDamaged) || errors.Is(err, store.ErrIdentity), err)
			require.Contains(t, shivx.HintOf(err), "shivx golden scrub --repair")
			_, _, err = m.Take(t.Context(), golden.Order{Set: "shop"}, nil)
			require.Error(t, err, "nothing is stored into what may be another store")

			v, err := m.Verify(t.Context(), mend, nil)
			require.NoError(t, err)
			require.Equal(t, 1, v.Repaired)
			require.Zero(t, v.Damaged)
			require.Equal(t, damage.file, v.Damage[0].Object)
			again, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, whole, again)
			v, err = m.Verify(t.Context(), all, nil)
			require.NoError(t, err)
			require.Equal(t, 1, v.Goldens)
			require.Zero(t, v.Damaged)
		})
	}
	require.Equal(t, taken.ID, m.latest().ID)
}

// TestAStoreWithoutParityIsNotMended: it says so, and what to do.
func TestAStoreWithoutParityIsNotMended(t *testing.T) {
	m := newMachine(t)
	m.take("")
	path := filepath.Join(m.store, "golden.json")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, whole[1:], 0o600))
	_, err = m.Verify(t.Context(), golden.VerifyOrder{All: true, Repair: true}, nil)
	require.ErrorIs(t, err, format.ErrDamaged)
	require.Contains(t, shivx.HintOf(err), "back from a copy")
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	_, err = m.Verify(t.Context(), golden.VerifyOrder{All: true}, nil)
	require.NoError(t, err)
}

// TestPruneDoubtsTheClock until somebody has looked: nothing was stored for years.
func TestPruneDoubtsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, func(o *golden.Options) { o.Sets[0].Keep = store.Policy{Last: 1} })
		m.take("")
		time.Sleep(time.Hour)
		m.take("")
		time.Sleep(3 * 365 * 24 * time.Hour)
		_, err := m.Prune(t.Context(), golden.PruneOrder{}, nil)
		require.ErrorIs(t, err, store.ErrClock)
		require.Contains(t, shivx.HintOf(err), "shivx golden prune --clock-is-right")
		p, err := m.Prune(t.Context(), golden.PruneOrder{ClockIsRight: true}, nil)
		require.NoError(t, err)
		require.Len(t, p.Removed, 1)
	})
}
