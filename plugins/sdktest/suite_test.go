package sdktest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/sdktest"
)

func check(t *testing.T, fault string) map[string]sdktest.Finding {
	t.Helper()
	x := &target{up: true, notes: map[string]bool{}}
	byName := map[string]sdktest.Finding{}
	for _, f := range sdktest.Check(t.Context(), x.suite(honest{x: x, fault: fault})) {
		byName[f.Check] = f
	}
	require.Len(t, byName, 13)
	return byName
}

func TestHonestPluginPasses(t *testing.T) {
	x := &target{up: true, notes: map[string]bool{}}
	sdktest.Run(t, x.suite(honest{x: x}))
	for name, f := range check(t, "") {
		require.Equal(t, sdktest.Passed, f.Verdict, "%s: %s", name, f.Message)
	}
	require.NoError(t, x.healthy(), "the target is left healthy")
}

func TestBadPluginsAreCaught(t *testing.T) {
	for fault, want := range map[string]struct{ check, message string }{
		"no version":           {"description", "no version"},
		"bad name":             {"description", `"Honest Plugin"`},
		"bad type":             {"description", `"magic"`},
		"takes any option":     {"options", "no_such_option"},
		"vague about options":  {"options", "without naming it: bad configuration"},
		"panics on options":    {"options", "panic"},
		"acts while planning":  {"plan", "step recover changed the target although it was asked for a plan"},
		"plan says nothing":    {"plan", "says nothing"},
		"lies":                 {"recover", "recover reports a success that did not happen: 100ms later the target is still not healthy: it is down"},
		"hangs":                {"recover", "step recover did not finish in 1s"},
		"hangs for ever":       {"recover", "did not finish in 1s and did not stop when it was told to"},
		"gives up":             {"recover", "recover failed on a target that the suite broke: cannot start it"},
		"no summary":           {"recover", "no summary"},
		"doubles":              {"repeat", "recover is doubled"},
		"mark acts":            {"mark-done", "mark or done changed the target"},
		"always done":          {"mark-done", "before it did"},
		"never done":           {"mark-done", "would be doubled"},
		"does not undo":        {"undo", "does not take back"},
		"does not isolate":     {"isolate", "isolate reports a success that did not happen: isolated is false"},
		"does not reintegrate": {"isolate", "reintegrate reports a success that did not happen: isolated is true"},
		"validate acts":        {"validate", "validate changed the target"},
		"never fit":            {"validate", "I do not like it"},
		"empty progress":       {"progress", "empty lines"},
		"slow and deaf":        {"cancel", "did not stop within 200ms of its cancellation"},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			f := check(t, fault)[want.check]
			require.Equal(t, sdktest.Failed, f.Verdict, f.Message)
			require.Contains(t, f.Message, want.message)
		})
	}
}

func TestPluginThatCannotTellIsSkippedWithAWord(t *testing.T) {
	f := check(t, "cannot tell")["mark-done"]
	require.Equal(t, sdktest.Skipped, f.Verdict)
	require.Contains(t, f.Message, "cannot tell")
}

func TestNothingFollowsAStepThatNeverReturned(t *testing.T) {
	findings := check(t, "hangs for ever")
	require.Equal(t, sdktest.Skipped, findings["repeat"].Verdict)
	require.Equal(t, "step recover is still running", findings["concurrency"].Message)
}

func TestSuiteWithoutATargetSkips(t *testing.T) {
	x := &target{up: true, notes: map[string]bool{}}
	s := x.suite(honest{x: x})
	s.Break, s.State = nil, nil
	for _, f := range sdktest.Check(t.Context(), s) {
		require.NotEqual(t, sdktest.Failed, f.Verdict, f)
		if f.Check == "recover" || f.Check == "plan" {
			require.Equal(t, sdktest.Skipped, f.Verdict)
		}
	}
}

func TestBreakThatBreaksNothingIsAFault(t *testing.T) {
	x := &target{up: true, notes: map[string]bool{}}
	s := x.suite(honest{x: x})
	s.Break = func() error { return nil }
	var f sdktest.Finding
	for _, f = range sdktest.Check(t.Context(), s) {
		if f.Check == "recover" {
			break
		}
	}
	require.Equal(t, "the target is healthy after the suite's Break", f.Message)
}

// recorder is a testing.TB that keeps what a test would have printed.
type recorder struct {
	testing.TB
	failed, logged []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return context.Background() }
func (r *recorder) Logf(f string, a ...any)  { r.logged = append(r.logged, fmt.Sprintf(f, a...)) }
func (r *recorder) Errorf(f string, a ...any) {
	r.failed = append(r.failed, fmt.Sprintf(f, a...))
}

func TestRunFailsTheTestOfALiar(t *testing.T) {
	x := &target{up: true, notes: map[string]bool{}}
	r := &recorder{TB: t}
	sdktest.Run(r, x.suite(honest{x: x, fault: "lies"}))
	require.Len(t, r.failed, 1)
	require.Contains(t, r.failed[0], "recover: failed: recover reports a success that did not happen")
	require.Contains(t, r.failed[0], "(return an error when the repair did not work")
	require.Len(t, r.logged, 12)
}

func TestSuiteThatNamesNoPlugin(t *testing.T) {
	findings := sdktest.Check(t.Context(), sdktest.Suite{})
	require.Len(t, findings, 1)
	require.Equal(t, sdktest.Failed, findings[0].Verdict)
	findings = sdktest.Check(t.Context(), sdktest.Suite{Command: []string{"/no/such/plugin"}})
	require.Contains(t, findings[0].String(), "no such file")
}
