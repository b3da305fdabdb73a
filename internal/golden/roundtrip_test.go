package golden_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/testenv"
)

// TestRoundTrips takes goldens of random trees and restores them in every way, also by the program that
// knows the documented format alone. ROUNDTRIPS=1000 does that many with seeds that nobody has tried;
// ROUNDTRIP_SEED=17 repeats one.
func TestRoundTrips(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel() // most of the time is waiting for the disk
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("ROUNDTRIP_SEED=%d go test -run TestRoundTrips ./internal/golden/ repeats it", seed)
				}
			})
			newTrip(t, seed).run()
		})
	}
}

func seeds(t *testing.T) []uint64 {
	if text := os.Getenv("ROUNDTRIP_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		return []uint64{seed}
	}
	from, n := uint64(1), 3
	if text := os.Getenv("ROUNDTRIPS"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
		from = uint64(time.Now().UnixMilli())
	}
	var all []uint64
	for i := range n {
		all = append(all, from+uint64(i))
	}
	return all
}

// trip is one tree on its ways into a store and back.
type trip struct {
	*machine
	g        *gardener
	roots    []string
	identity string // a file, of an encrypted store
	number   int
}

func newTrip(t *testing.T, seed uint64) *trip {
	tr := &trip{}
	tr.machine = newMachine(t, func(o *golden.Options) {
		first := o.Sets[0].Paths[0]
		tr.roots = []string{filepath.Join(filepath.Dir(first), "etc ü"), first}
		o.Sets[0].Paths = tr.roots
		if seed%2 == 0 {
			o.Keys = tr.keys(t)
		}
		if seed%3 == 0 {
			o.Parity = 10
		}
	})
	tr.g = newGardener(t, seed, tr.roots...)
	return tr
}

// keys makes an identity that opens the store, for the engine and in a file for the program age.
func (tr *trip) keys(t *testing.T) func() ([]age.Recipient, []age.Identity, error) {
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	tr.identity = filepath.Join(t.TempDir(), "identity")
	require.NoError(t, os.WriteFile(tr.identity, []byte(identity.String()+"\n"), 0o600))
	return func() ([]age.Recipient, []age.Identity, error) {
		return []age.Recipient{identity.Recipient()}, []age.Identity{identity}, nil
	}
}

// look is the tree as it stands.
func (tr *trip) look() portrait { return look(tr.t, "", tr.roots...) }

func (tr *trip) run() {
	first := tr.look()
	one := tr.take("")
	requireAlike(tr.t, first, tr.look(), "what a backup leaves of the tree")
	tr.g.alter(6)
	second := tr.look()
	two := tr.take("") // at once: the clock of the file system may not have moved on
	for _, c := range []struct {
		info shivx.GoldenInfo
		want portrait
	}{{one, first}, {two, second}} {
		tr.elsewhere(c.info, c.want)
		tr.python(c.info, c.want)
	}
	tr.back(one, first, false)
	tr.g.wreck()
	tr.back(two, second, true)
	tr.g.wreck()
	tr.back(one, first, true)
	tr.g.wreck()
	tr.back(two, second, false)
	v, err := tr.Verify(tr.t.Context(), golden.VerifyOrder{All: true}, nil)
	require.NoError(tr.t, err)
	require.Zero(tr.t, v.Damaged)
}

// order is a restore with a name of its own.
func (tr *trip) order(info shivx.GoldenInfo) golden.Restore {
	tr.number++
	return golden.Restore{ID: fmt.Sprintf("r%d", tr.number), Set: "shop", Golden: info.ID}
}

// swap stages a restore, which may change nothing yet, and puts it in place.
func (tr *trip) swap(r golden.Restore) {
	before := tr.look()
	_, err := tr.Stage(tr.t.Context(), r, nil)
	require.NoError(tr.t, err)
	requireAlike(tr.t, before.unlinked(), tr.look().unlinked(), "what staging leaves of the tree")
	_, err = tr.Swap(tr.t.Context(), r)
	require.NoError(tr.t, err)
}

// back restores a golden to its place: it is undone once and done again, and then nothing differs.
func (tr *trip) back(info shivx.GoldenInfo, want portrait, inPlace bool) {
	what := fmt.Sprintf("restore of %d entries, in place %t", len(want), inPlace)
	r, before := tr.order(info), tr.look()
	r.InPlace = inPlace
	seen := func(now, want portrait) portrait {
		if inPlace {
			return now.read(before, want)
		}
		return now
	}
	tr.swap(r)
	loose := want.unlinked()
	requireAlike(tr.t, loose, seen(tr.look().unlinked(), loose), what)
	undone, err := tr.Undo(tr.t.Context(), r)
	require.NoError(tr.t, err)
	require.True(tr.t, undone)
	requireAlike(tr.t, before, tr.look(), what+", undone")
	r = tr.order(info)
	r.InPlace = inPlace
	tr.swap(r)
	_, err = tr.Finish(tr.t.Context(), r, false)
	require.NoError(tr.t, err)
	requireAlike(tr.t, want, seen(tr.look(), want), what+", finished")
	changes, err := tr.PlanRestore(tr.t.Context(), tr.order(info), nil)
	require.NoError(tr.t, err)
	require.False(tr.t, changes.Any(), "%s: a plan says that it changed %v", what, changes)
}

// elsewhere restores a golden below another folder.
func (tr *trip) elsewhere(info shivx.GoldenInfo, want portrait) {
	r := tr.order(info)
	r.To = filepath.Join(tr.t.TempDir(), "to")
	require.NoError(tr.t, os.Mkdir(r.To, 0o755))
	tr.swap(r)
	_, err := tr.Finish(tr.t.Context(), r, false)
	require.NoError(tr.t, err)
	requireAlike(tr.t, want, look(tr.t, r.To, tr.roots...), "restore elsewhere")
}

// python restores a golden by the program of the documentation, which needs root to be faithful.
func (tr *trip) python(info shivx.GoldenInfo, want portrait) {
	program := pythonFor(tr.t)
	target := filepath.Join(tr.t.TempDir(), "target")
	id := base64.StdEncoding.EncodeToString(key(tr.t, info))
	args := []string{"../../docs/golden_restore.py", "--key", id, tr.store, info.Set + "/" + info.ID, "--target", target}
	if tr.identity != "" {
		args = append(args, "--identity", tr.identity)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	require.NoError(tr.t, err, string(out))
	requireAlike(tr.t, want, look(tr.t, target, tr.roots...), "restore by Python")
}

// pythonFor returns a Python that has what the program needs.
func pythonFor(t *testing.T) string {
	t.Helper()
	testenv.Need(t, "zstd", "age")
	var said []byte
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		var err error
		if said, err = exec.Command(p, "-c", "import cryptography").CombinedOutput(); err == nil {
			return p
		}
	}
	testenv.Missing(t, "needs the packages python3 and python3-cryptography: "+string(said))
	return ""
}
