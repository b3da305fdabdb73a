package e2e_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/restore"
)

// The exit codes that `shivx --help` lists.
const (
	exitNotHealed = 3
	exitTampered  = 4
)

// wholeRestore are the steps of a restore that succeeds, as they stand in the ledger.
var wholeRestore = []shivx.GoldenStep{
	shivx.GoldenStepVerify, shivx.GoldenStepStage, shivx.GoldenStepValidate,
	shivx.GoldenStepStop, shivx.GoldenStepStop, shivx.GoldenStepStop, shivx.GoldenStepStop, shivx.GoldenStepSwap,
	shivx.GoldenStepStart, shivx.GoldenStepStart, shivx.GoldenStepStart, shivx.GoldenStepStart,
	shivx.GoldenStepLoad, shivx.GoldenStepCheck, shivx.GoldenStepFinish,
}

// underLoad runs a backup while orders come in, and returns the last order that each service had
// acknowledged before it, and after it; then no more come in.
func (s *shop) underLoad(t *testing.T, backup ...string) (before, after map[string]int) {
	t.Helper()
	s.takeOrders(t)
	before = s.acked()
	at := time.Now()
	out := s.golden(t, 0, backup...)
	t.Logf("backed up in %s:\n%s", time.Since(at).Round(time.Millisecond), out)
	after = s.acked()
	for name := range before {
		require.Greater(t, after[name], before[name], "%s took no orders during the backup", name)
	}
	s.pauseOrders(t)
	return before, s.acked()
}

// requireOrders checks every order of every service.
func (s *shop) requireOrders(t *testing.T, least, most map[string]int) {
	t.Helper()
	var counts []string
	for _, w := range s.writers {
		last := w.require(t, least[w.name], most[w.name])
		counts = append(counts, fmt.Sprintf("%s %d", w.name, last))
	}
	slices.Sort(counts)
	t.Logf("orders: %s, all as they were written", strings.Join(counts, ", "))
}

// requireSteps checks the run whose end is new in the ledger, which must have taken the steps, and shows
// how long each took.
func (s *shop) requireSteps(t *testing.T, action shivx.GoldenAction, outcome shivx.Outcome, steps ...shivx.GoldenStep) {
	t.Helper()
	records := s.Records()
	ends := slices.DeleteFunc(slices.Clone(records), func(r shivx.RecoveryRecord) bool { return r.EventType != shivx.EventGolden })
	require.Greater(t, len(ends), s.ended, "the end of the %s is not in the ledger", action)
	s.ended = len(ends)
	end := ends[len(ends)-1]
	require.Equal(t, string(action), end.Details.(map[string]any)["action"])
	require.Equal(t, outcome, end.Outcome, end.Message)
	require.Equal(t, "shop", end.Set)
	require.Positive(t, end.DurationMS)
	var taken []shivx.GoldenStep
	for _, r := range records {
		if r.Run != end.Run || r.EventType != shivx.EventStepDone && r.EventType != shivx.EventStepFailed {
			continue
		}
		require.Equal(t, "shop", r.Set)
		taken = append(taken, shivx.GoldenStep(r.Step))
		t.Logf("  %-8s %-8s %-11s %6d ms  %s", r.Step, r.Component, r.EventType, r.DurationMS, r.Message)
	}
	t.Logf("  %-29s %6d ms  %s", "the whole "+string(action), end.DurationMS, end.Message)
	for _, step := range steps {
		i := slices.Index(taken, step)
		require.GreaterOrEqual(t, i, 0, "%s is not in the ledger, or not in its order: %v", step, taken)
		taken = taken[i+1:]
	}
}

// requireClean fails when a restore has left anything behind, beside the files or in its journal.
func (s *shop) requireClean(t *testing.T) {
	t.Helper()
	for _, dir := range []string{s.web.Dir, s.cache.Dir, s.database.Dir, s.till.dir} {
		left, err := filepath.Glob(filepath.Join(dir, restore.StagePrefix+"*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	journals := filepath.Join(s.Var, "recovery", "golden", "restores")
	pending, err := restore.Pending(journals)
	require.NoError(t, err)
	require.Empty(t, pending)
	jobs, err := filepath.Glob(filepath.Join(journals, "*.services"))
	require.NoError(t, err)
	require.Empty(t, jobs)
	exports, err := filepath.Glob(filepath.Join(s.Var, "recovery", "golden", "exports", "*", "*"))
	require.NoError(t, err)
	require.Empty(t, exports)
}
