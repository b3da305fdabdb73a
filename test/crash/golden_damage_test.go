package crash_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/plugins/builtin"
)

const vaultConfig = `
version: 1
host: vault
api: {listen: "off"}
paths: {var: DIR/var}
golden:
  store: {path: DIR/store}
  parity: PARITY
  sets:
    - {name: shop, paths: [DIR/etc, DIR/srv]}
`

// vault is a host whose store is damaged.
type vault struct {
	dir   string
	cfg   *config.Config
	rnd   *rand.Rand
	tree  picture
	id    string
	files []string
	whole map[string][]byte
	found map[string]int
}

func newVault(t *testing.T, parity string, rnd *rand.Rand) *vault {
	t.Helper()
	v := &vault{dir: t.TempDir(), rnd: rnd, whole: map[string][]byte{}, found: map[string]int{}}
	newDisk(t, v.dir)
	for i, root := range []string{"etc", "srv"} {
		for n := range 40 {
			path := filepath.Join(v.dir, root, fmt.Sprint("d", n%3), fmt.Sprint("f", n))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, content(rnd, rnd.IntN(3000*(i+1))), 0o640))
		}
	}
	v.tree = pictureOf(t, v.dir, filepath.Join(v.dir, "etc"), filepath.Join(v.dir, "srv"))
	conf := filepath.Join(v.dir, "shivx.yaml")
	require.NoError(t, os.WriteFile(conf, []byte(strings.NewReplacer("DIR", v.dir, "PARITY", parity).Replace(vaultConfig)), 0o600))
	var err error
	v.cfg, err = config.Load(conf, builtin.Known())
	require.NoError(t, err)
	info, _, err := v.engine(t).Take(t.Context(), golden.Order{Set: "shop", Kind: shivx.GoldenKindBackup}, nil)
	require.NoError(t, err)
	v.id = info.ID
	v.read(t)
	return v
}

// read remembers all files of the store that mean something.
func (v *vault) read(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"golden.json", "packs/*/*.pack", "parity/*/*.par", "parity/*/*/*", "goldens/*/*"} {
		paths, err := filepath.Glob(filepath.Join(v.dir, "store", pattern))
		require.NoError(t, err)
		for _, p := range paths {
			if v.whole[p], err = os.ReadFile(p); err == nil {
				v.files = append(v.files, p)
			}
		}
	}
	require.Subset(t, v.files, []string{filepath.Join(v.dir, "store/golden.json")})
}

// engine is one that has verified nothing yet, as that of a process that begins.
func (v *vault) engine(t *testing.T) *golden.Engine {
	t.Helper()
	e, err := golden.Configured(v.cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return e
}

// damage changes one bit of a byte: every other time of a file at random, else anywhere in the store.
func (v *vault) damage(t *testing.T) (path string, at int) {
	t.Helper()
	path = v.files[v.rnd.IntN(len(v.files))]
	at = v.rnd.IntN(len(v.whole[path]))
	if v.rnd.IntN(2) == 0 {
		all := 0
		for _, f := range v.files {
			all += len(v.whole[f])
		}
		at = v.rnd.IntN(all)
		for _, path = range v.files {
			if at < len(v.whole[path]) {
				break
			}
			at -= len(v.whole[path])
		}
	}
	data := bytes.Clone(v.whole[path])
	data[at] ^= 1 << v.rnd.IntN(8)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	part, _, _ := strings.Cut(strings.TrimPrefix(path, v.dir+"/store/"), "/")
	v.found[part]++
	return path, at
}

// refused requires that the damage is found, and that nothing is restored of it; what only parity has lost does
// not hinder.
func (v *vault) refused(t *testing.T, path string, what string) {
	t.Helper()
	checked, err := v.engine(t).Verify(t.Context(), golden.VerifyOrder{All: true}, nil)
	require.True(t, err != nil || checked.Damaged > 0, "%s is not found", what)
	r := golden.Restore{ID: ulid.Make().String(), Set: "shop", Golden: v.id, To: filepath.Join(v.dir, "to")}
	e := v.engine(t)
	defer func() { require.NoError(t, e.Close()) }()
	_, err = e.Stage(t.Context(), r, nil)
	if !strings.Contains(path, "/store/parity/") {
		require.Error(t, err, "%s: it is restored", what)
		known := err != nil && (errors.Is(err, format.ErrDamaged) || errors.Is(err, format.ErrVersion))
		require.True(t, known, "%s: %v", what, err)
		require.NoDirExists(t, r.To)
		return
	}
	require.NoError(t, err, what)
	_, err = e.Swap(t.Context(), r)
	require.NoError(t, err)
	_, err = e.Finish(t.Context(), r, false)
	require.NoError(t, err)
	to := filepath.Join(r.To, v.dir)
	require.Empty(t, v.tree.differs(pictureOf(t, to, filepath.Join(to, "etc"), filepath.Join(to, "srv"))), what)
	require.NoError(t, os.RemoveAll(r.To))
}

// TestGoldenDamage changes bytes of a store at random. Each is found, nothing is restored from what is
// damaged, and where there is parity every file is as it was after the repair.
func TestGoldenDamage(t *testing.T) {
	places := 500
	if short() {
		places = 100
	}
	seed := crashSeed(t)
	for _, parity := range []string{"0", "10"} {
		v := newVault(t, parity, rand.New(rand.NewPCG(seed, 2)))
		for range places {
			path, at := v.damage(t)
			what := fmt.Sprintf("byte %d of %s", at, path)
			v.refused(t, path, what)
			if parity != "0" {
				mended, err := v.engine(t).Verify(t.Context(), golden.VerifyOrder{All: true, Repair: true}, nil)
				require.NoError(t, err, what)
				require.Zero(t, mended.Damaged, "%s: %+v", what, mended)
				require.Positive(t, mended.Repaired, what)
				got, err := os.ReadFile(path)
				require.NoError(t, err)
				require.True(t, slices.Equal(v.whole[path], got), "%s is not as it was", what)
			}
			require.NoError(t, os.WriteFile(path, v.whole[path], 0o600))
		}
		t.Logf("parity %s %%: %d damaged bytes found and refused, in %v", parity, places, v.found)
	}
}
