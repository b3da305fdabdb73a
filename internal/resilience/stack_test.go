package resilience

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// knob is a limit that several hooks turn: each keeps what it found and puts that back, as the
// built-in plugins do.
type knob struct {
	value int
	kept  map[string]int
}

// turned makes the hooks of b, from name to what they set, turn one knob.
func turned(b *bench, to map[string]int) *knob {
	k := &knob{value: 100, kept: map[string]int{}}
	b.world.during = func(_ context.Context, what string, s Shedding) {
		name := s.Hook.Name
		before, kept := k.kept[name]
		switch {
		case b.world.fail[what] != nil:
		case what == "shed "+name:
			if !kept {
				k.kept[name] = k.value
			}
			k.value = to[name]
		case kept:
			k.value = before
			delete(k.kept, name)
		}
	}
	return k
}

func mildAndHard(b *bench) {
	b.rules.Hooks = []config.Hook{hookOf("mild", shivx.Level1), hookOf("hard", shivx.Level3), hookOf("other", shivx.Level1)}
	b.rules.Hooks[2].Plugin = "http"
}

func TestFailedUndoHoldsBackOlderOnes(t *testing.T) {
	b := newBench(t, mildAndHard)
	k := turned(b, map[string]int{"mild": 50, "hard": 10, "other": 10})
	b.world.during = onlyFor(b.world.during, "mild", "hard")
	b.steps(2, 60)
	require.Equal(t, []string{"shed mild", "shed other", "shed hard"}, b.world.taken())
	require.Equal(t, 10, k.value)
	b.world.fail["restore hard"] = errors.New("busy")
	b.steps(8, 0)
	require.Equal(t, shivx.LevelNormal, b.level())
	require.NotContains(t, b.world.taken(), "restore mild", "what hard found goes before what mild found")
	require.False(t, b.hook("other").On, "another plugin's hook does not wait")
	require.True(t, b.hook("mild").On)
	b.restart()
	b.steps(1, 0)
	require.True(t, b.hook("mild").On, "after a restart, too")
	b.world.taken()
	b.world.fail = map[string]error{}
	_, err := b.core.Reconcile(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"restore hard", "restore mild"}, b.world.taken())
	require.Equal(t, 100, k.value, "the limit stays for good")
}

// onlyFor leaves other hooks alone.
func onlyFor(f func(context.Context, string, Shedding), names ...string) func(context.Context, string, Shedding) {
	return func(ctx context.Context, what string, s Shedding) {
		for _, n := range names {
			if s.Hook.Name == n {
				f(ctx, what, s)
			}
		}
	}
}

// TestYoungerOnesMakeWay: a hook that must go has younger ones of its plugin taken back first,
// which are then shed again.
func TestYoungerOnesMakeWay(t *testing.T) {
	b := newBench(t, mildAndHard)
	k := turned(b, map[string]int{"mild": 50, "hard": 10})
	b.world.during = onlyFor(b.world.during, "mild", "hard")
	b.steps(2, 60)
	b.world.taken()
	b.rules.Hooks[0].Options = map[string]any{"cmd": "other"}
	b.restart()
	b.steps(1, 60)
	require.Equal(t, []string{"restore hard", "restore mild", "shed mild", "shed hard"}, b.world.taken())
	b.steps(8, 0)
	require.Equal(t, []string{"restore hard", "restore mild", "restore other"}, b.world.taken())
	require.Equal(t, 100, k.value)

	// The mild one was shed last, since it failed at first; then only the hard one must go.
	b.world.fail["shed mild"] = errors.New("not yet")
	b.steps(2, 60)
	b.world.fail = map[string]error{}
	b.steps(2, 60)
	require.True(t, b.hook("mild").On)
	b.world.taken()
	b.steps(6, 30)
	require.Equal(t, shivx.Level1, b.level())
	require.Equal(t, []string{"restore mild", "restore hard", "shed mild"}, b.world.taken())
	b.steps(3, 0)
	require.Equal(t, 100, k.value)
}

// TestYoungerOnesMakeWayOnce: load that is to be shed does not come and go with each attempt.
func TestYoungerOnesMakeWayOnce(t *testing.T) {
	for _, broken := range []string{"restore mild", "restore hard"} {
		b := newBench(t, mildAndHard)
		b.steps(2, 60)
		b.rules.Hooks[0].Options = map[string]any{"cmd": "other"}
		b.restart()
		b.world.taken()
		b.world.fail[broken] = errors.New("stuck")
		b.steps(100, 60)
		log := b.world.taken()
		require.Less(t, len(log), 12, "%v", log)
		require.True(t, b.hook("hard").On)
		b.world.fail = map[string]error{}
		b.steps(8, 0)
		_, err := b.core.Reconcile(t.Context())
		require.NoError(t, err)
		require.Empty(t, b.core.state.Hooks)
		require.Empty(t, b.world.on)
	}
}

func TestAuditHoldsNoOption(t *testing.T) {
	b := newBench(t, threeHooks)
	b.rules.Hooks[1].Options["token"] = "s3cr3t"
	b.restart()
	b.world.fail["shed reports"] = errors.New("no")
	b.steps(30, 90)
	audit, err := os.ReadFile(b.path())
	require.NoError(t, err)
	require.Contains(t, string(audit), shivx.EventHealthCheck)
	for _, text := range []string{"s3cr3t", "token", "1152921504606846976"} {
		require.NotContains(t, string(audit), text)
	}
	file := b.core.kept.file("batch")
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	b.steps(40, 0)
	files, err := filepath.Glob(filepath.Join(b.dir, "shed", "*", keptOptions))
	require.NoError(t, err)
	require.Empty(t, files, "what nobody needs any more")
}

func TestKeptOptionsThatAreGone(t *testing.T) {
	for name, harm := range map[string]func(string) error{
		"missing": os.Remove,
		"damaged": func(file string) error { return os.WriteFile(file, []byte(`{"cmd":"rm"}`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, threeHooks)
			b.steps(2, 30)
			require.NoError(t, harm(b.core.kept.file("batch")))
			b.steps(3, 0)
			require.Empty(t, b.core.state.Hooks, "the configuration has the same options")

			b.steps(2, 30)
			b.world.taken()
			was := b.rules.Hooks[1].Options
			b.rules.Hooks[1].Options = map[string]any{"cmd": "other"}
			require.NoError(t, harm(b.core.kept.file("batch")))
			b.restart()
			b.steps(3, 0)
			require.NotContains(t, b.world.taken(), "restore batch")
			require.Contains(t, b.hook("batch").Error, b.core.kept.file("batch"))
			require.Contains(t, b.hook("batch").Error, "put the old options back")
			b.rules.Hooks[1].Options = was
			b.restart()
			b.steps(1, 0)
			require.Equal(t, []string{"restore batch"}, b.world.taken(), "as the hint says")
		})
	}
}

// TestOptionsThatCannotBeKept: a full disk is a reason to shed load, not to keep it.
func TestOptionsThatCannotBeKept(t *testing.T) {
	b := newBench(t, threeHooks)
	shed := filepath.Join(b.dir, "shed")
	require.NoError(t, os.RemoveAll(shed))
	require.NoError(t, os.WriteFile(shed, nil, 0o600)) // no folder
	b.steps(2, 30)
	require.True(t, b.hook("batch").On)
	require.Contains(t, b.core.Status().Notices[0], "options")
	require.NoError(t, os.Remove(shed))
	b.steps(1, 30)
	require.Empty(t, b.core.Status().Notices, "it is tried again")
	b.rules.Hooks = nil
	b.restart()
	b.steps(1, 30)
	require.Empty(t, b.core.state.Hooks)
}

// TestCutOffHookIsDoneAgainInItsPlace: it may have kept its values before those that are shed later.
func TestCutOffHookIsDoneAgainInItsPlace(t *testing.T) {
	b := newBench(t, threeHooks)
	b.world.fail["shed batch"] = errors.New("not yet")
	b.steps(2, 30)
	data, err := json.Marshal(switched{Name: "reports", Level: shivx.Level1, Phase: phaseStarted, Number: 9, Key: "k", Use: "script", Options: b.core.state.Hooks[1].Options})
	require.NoError(t, err)
	_, err = b.ledger.Append(t.Context(), "", shivx.ResilienceRecord{EventType: shivx.EventShed, Module: shivx.ModuleHost, Details: json.RawMessage(data)})
	require.NoError(t, err)
	b.world.taken()
	b.world.fail = map[string]error{}
	b.restart()
	b.steps(1, 30)
	require.Equal(t, []string{"shed reports", "shed batch"}, b.world.taken())
}
