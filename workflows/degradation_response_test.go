package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// fakeCore is a host with a level and two hooks, in memory.
type fakeCore struct {
	mu      sync.Mutex
	changes []shivx.LevelChange
	broken  map[string]string // hooks in error and why
	away    bool
	mute    bool // people cannot be told
	applied []activities.ApplyLevelInput
	asked   []activities.SetOverrideInput
	told    []activities.EscalateInput
	// during is called while the host switches its hooks.
	during func()
}

func (f *fakeCore) level() shivx.Level {
	if n := len(f.changes); n > 0 {
		return f.changes[n-1].To
	}
	return shivx.LevelNormal
}

// change makes the host's next change.
func (f *fakeCore) change(to shivx.Level, at time.Time) shivx.LevelChange {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := shivx.LevelChange{Host: "h1", Ledger: "abc", Number: uint64(len(f.changes) + 1), From: f.level(), To: to,
		Cause: shivx.CauseScore, Reason: fmt.Sprintf("change to %s", to), At: at}
	f.changes = append(f.changes, c)
	return c
}

func vanished() error {
	return temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START, nil)
}

func (f *fakeCore) register(env *testsuite.TestWorkflowEnvironment) {
	workflows.Register(env)
	activities.ApplyLevel.Register(env, func(_ context.Context, in activities.ApplyLevelInput) (activities.AppliedLevel, error) {
		if f.during != nil {
			f.during()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.applied = append(f.applied, in)
		if f.away {
			return activities.AppliedLevel{}, vanished()
		}
		out := activities.AppliedLevel{Level: f.level(), Automatic: f.level(), Number: uint64(len(f.changes)), FeaturesOff: []string{"analytics"}}
		for _, name := range []string{"stop-batch", "drop-uploads"} {
			out.Hooks = append(out.Hooks, shivx.HookState{Name: name, Level: shivx.Level1, On: f.broken[name] == "", Error: f.broken[name]})
		}
		return out, nil
	})
	activities.SetOverride.Register(env, func(_ context.Context, in activities.SetOverrideInput) (shivx.LevelChange, error) {
		f.mu.Lock()
		f.asked = append(f.asked, in)
		away := f.away
		f.mu.Unlock()
		switch {
		case away:
			return shivx.LevelChange{}, vanished()
		case in.Request.End:
			return shivx.LevelChange{}, temporal.NewNonRetryableApplicationError("no override is in force", activities.ErrNoOverride, nil)
		}
		return f.change(in.Request.Level, time.Time{}), nil
	})
	activities.Escalate.Register(env, func(_ context.Context, in activities.EscalateInput) (activities.EscalateResult, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.mute {
			return activities.EscalateResult{}, temporal.NewNonRetryableApplicationError("nobody was told", activities.ErrPlugin, nil)
		}
		f.told = append(f.told, in)
		return activities.EscalateResult{}, nil
	})
}

// response is a DegradationResponse under test.
type response struct {
	t    *testing.T
	env  *testsuite.TestWorkflowEnvironment
	host *fakeCore
}

func newResponse(t *testing.T) *response {
	r := &response{t, newEnv(t), &fakeCore{broken: map[string]string{}}}
	r.host.register(r.env)
	r.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: shivx.DegradationID("h1")})
	return r
}

func (r *response) at(d time.Duration, f func()) { r.env.RegisterDelayedCallback(f, d) }

// send tells the workflow of a change.
func (r *response) send(c shivx.LevelChange) { r.env.SignalWorkflow(shivx.SignalHealth, c) }

// goTo makes a change on the host and tells it.
func (r *response) goTo(to shivx.Level) { r.send(r.host.change(to, r.env.Now())) }

// run runs the workflow for d of its time and returns its state at the end.
func (r *response) run(d time.Duration) (out workflows.DegradationState) {
	r.t.Helper()
	r.at(d, func() {
		out = r.status()
		r.env.CancelWorkflow()
	})
	r.env.ExecuteWorkflow(shivx.TypeDegradationResponse, workflows.DegradationInput{Host: "h1"})
	require.True(r.t, r.env.IsWorkflowCompleted())
	require.ErrorAs(r.t, r.env.GetWorkflowError(), new(*temporal.CanceledError))
	return out
}

func (r *response) status() (out workflows.DegradationState) {
	r.t.Helper()
	v, err := r.env.QueryWorkflow(shivx.QueryStatus)
	require.NoError(r.t, err)
	require.NoError(r.t, v.Get(&out))
	return out
}

// answer is what became of an update.
type answer struct {
	rejected, err error
	change        shivx.LevelChange
	done          bool
}

func (r *response) override(id string, req shivx.OverrideRequest) *answer {
	a := &answer{}
	r.env.UpdateWorkflow(shivx.UpdateOverride, id, &testsuite.TestUpdateCallback{
		OnReject: func(err error) { a.rejected = err }, OnAccept: func() {},
		OnComplete: func(v any, err error) {
			a.done, a.err = true, err
			if c, ok := v.(shivx.LevelChange); ok {
				a.change = c
			}
		},
	}, req)
	return a
}

func numbers(changes []shivx.LevelChange) (out []uint64) {
	for _, c := range changes {
		out = append(out, c.Number)
	}
	return out
}

func TestDegradationFollowsTheChangesInOrderAndCountsEachOnce(t *testing.T) {
	r := newResponse(t)
	r.at(time.Second, func() { r.goTo(shivx.Level1) })
	r.at(time.Minute, func() {
		r.goTo(shivx.Level3)
		r.send(r.host.changes[0]) // told again, as after a crash
		r.send(r.host.changes[1])
		r.send(shivx.LevelChange{Host: "another", Ledger: "abc", Number: 3, To: shivx.LevelNormal})
		r.send(shivx.LevelChange{Host: "h1", Ledger: "abc", Number: 3, To: "NONSENSE"})
	})
	got := r.run(time.Hour)
	require.Equal(t, []uint64{1, 2}, numbers(got.Changes))
	require.Equal(t, shivx.Level3, got.Level)
	require.Equal(t, shivx.Level3, got.LevelNow())
	require.Equal(t, r.host.changes[1].At, got.Since.Local())
	require.Empty(t, got.MissingNumbers)
	require.Equal(t, []activities.ApplyLevelInput{{Host: "h1"}, {Host: "h1", Number: 1, Level: shivx.Level1}, {Host: "h1", Number: 2, Level: shivx.Level3}},
		r.host.applied, "asked at the start, and once for each change")
	require.Equal(t, uint64(2), got.Applied)
	require.Equal(t, []string{"analytics"}, got.FeaturesOff)
	require.Len(t, got.Hooks, 2)
	require.Empty(t, r.host.told)
}

func TestDegradationNamesTheChangesThatAreMissing(t *testing.T) {
	r := newResponse(t)
	var all []shivx.LevelChange
	for i := range 9 {
		all = append(all, r.host.change(shivx.Levels()[i%2], r.env.Now()))
	}
	send := func(ns ...int) {
		for _, n := range ns {
			r.send(all[n-1])
		}
	}
	r.at(time.Second, func() { send(1, 5, 9) })
	r.at(time.Minute, func() {
		require.Equal(t, []workflows.Span{{From: 2, To: 4}, {From: 6, To: 8}}, r.status().MissingNumbers)
		require.Equal(t, "2–4, 6–8", r.status().Missing())
		send(3, 3, 8, 6)
	})
	got := r.run(time.Hour)
	require.Equal(t, "2, 4, 7", got.Missing())
	require.Equal(t, []uint64{1, 3, 5, 6, 8, 9}, numbers(got.Changes), "found again, in the order of the ledger")
	require.Equal(t, all[8].To, got.Level, "an older change does not undo a newer one")
}

func TestDegradationCountsAnewInANewLedger(t *testing.T) {
	r := newResponse(t)
	r.at(time.Second, func() { r.goTo(shivx.Level1); r.goTo(shivx.Level2) })
	r.at(time.Minute, func() {
		r.send(shivx.LevelChange{Host: "h1", Ledger: "new", Number: 1, From: shivx.LevelNormal, To: shivx.Level3, At: r.env.Now()})
		r.send(r.host.changes[1]) // the old ledger is not believed any more
		r.send(shivx.LevelChange{Host: "h1", Ledger: "abc", Number: 3, To: shivx.LevelNormal})
	})
	got := r.run(time.Hour)
	require.Equal(t, "new", got.Ledger)
	require.Equal(t, uint64(1), got.Number)
	require.Equal(t, shivx.Level3, got.Level)
	require.Len(t, got.FormerLedgers, 1)
	require.Equal(t, uint64(2), got.FormerLedgers[0].Number)
	require.Equal(t, []uint64{1, 2, 1}, numbers(got.Changes))
	require.Empty(t, got.MissingNumbers)
}

func TestDegradationFoldsChangesThatComeWhileOneIsApplied(t *testing.T) {
	r := newResponse(t)
	burst := sync.OnceFunc(func() {
		for _, l := range []shivx.Level{shivx.Level2, shivx.Level3, shivx.Level2} {
			r.goTo(l)
		}
	})
	r.at(time.Second, func() {
		r.host.during = burst
		r.goTo(shivx.Level1)
	})
	got := r.run(time.Hour)
	var asked []uint64
	for _, in := range r.host.applied {
		asked = append(asked, in.Number)
	}
	require.Equal(t, []uint64{0, 1, 4}, asked, "the newest alone")
	require.Equal(t, []uint64{1, 2, 3, 4}, numbers(got.Changes))
	require.False(t, got.Unapplied)
}

func TestDegradationKeepsTheLastHundredChanges(t *testing.T) {
	r := newResponse(t)
	r.at(time.Second, func() {
		for i := range 130 {
			r.goTo(shivx.Levels()[i%2])
		}
	})
	got := r.run(time.Hour)
	require.Len(t, got.Changes, 100)
	require.Equal(t, uint64(31), got.Changes[0].Number)
	require.Equal(t, uint64(130), got.Number)
}

func TestDegradationTellsPeopleOnceOfAHookThatStaysInError(t *testing.T) {
	r := newResponse(t)
	r.at(time.Second, func() {
		r.host.broken["drop-uploads"] = "exit status 1"
		r.goTo(shivx.Level2)
	})
	r.at(2*time.Minute, func() {
		require.Empty(t, r.host.told, "it may still succeed")
		require.Equal(t, "drop-uploads: exit status 1", r.status().LastError)
	})
	r.at(10*time.Minute, func() {
		require.Len(t, r.host.told, 1)
		require.Contains(t, r.host.told[0].Message, "load-shedding hooks of h1 are not what its level LEVEL_2 asks for: drop-uploads: exit status 1")
		require.Equal(t, shivx.Target{Component: shivx.ModuleHost, Host: "h1"}, r.host.told[0].Target)
		require.NotEmpty(t, r.host.told[0].Hint)
	})
	r.at(20*time.Minute, func() { r.goTo(shivx.Level3) })                         // people know of the hook
	r.at(30*time.Minute, func() { r.host.broken["stop-batch"] = "no such file" }) // but not of this one
	r.at(45*time.Minute, func() {
		require.Len(t, r.host.told, 2)
		require.Contains(t, r.host.told[1].Key, "/hooks/stop-batch")
		r.host.broken = map[string]string{}
	})
	r.at(55*time.Minute, func() {
		s := r.status()
		require.Zero(t, s.Failures, "well again")
		require.Empty(t, s.LastError)
		require.Empty(t, s.ToldHooks)
		r.host.applied = nil
	})
	got := r.run(3 * time.Hour)
	require.Empty(t, r.host.applied, "nothing is left to do")
	require.Len(t, got.Told, 2)
	require.Len(t, r.host.told, 2)
}

func TestDegradationTriesHooksAgainAfterGrowingPauses(t *testing.T) {
	r := newResponse(t)
	r.host.broken["stop-batch"] = "exit status 1"
	var tries []time.Duration
	began := r.env.Now()
	r.host.during = func() { tries = append(tries, r.env.Now().Sub(began).Round(time.Second)) }
	r.run(12 * time.Minute)
	s := time.Second
	require.Equal(t, []time.Duration{0, 10 * s, 30 * s, 70 * s, 150 * s, 310 * s, 610 * s}, tries)
}

func TestDegradationTellsPeopleOfEachEmergencyAndOfItsEnd(t *testing.T) {
	r := newResponse(t)
	walk := []shivx.Level{shivx.Level2, shivx.LevelEmergency, shivx.LevelEmergency, shivx.Level3, shivx.LevelEmergency}
	for i, l := range walk {
		r.at(time.Duration(i+1)*time.Minute, func() { r.goTo(l) })
	}
	got := r.run(time.Hour)
	require.Len(t, r.host.told, 3)
	require.Contains(t, r.host.told[0].Message, "h1 is in EMERGENCY since")
	require.Contains(t, r.host.told[0].Hint, "shivx status --explain")
	require.Contains(t, r.host.told[1].Message, "h1 is out of EMERGENCY since")
	require.Contains(t, r.host.told[2].Message, "h1 is in EMERGENCY since")
	require.NotEqual(t, r.host.told[0].Key, r.host.told[2].Key)
	require.Equal(t, shivx.DegradationID("h1"), r.host.told[0].Run)
	require.Len(t, got.Told, 3)
}

func TestDegradationTellsInOneMessageOfAnEmergencyThatPassedBeforePeopleWereReached(t *testing.T) {
	r := newResponse(t)
	r.host.mute = true
	r.at(time.Second, func() { r.goTo(shivx.LevelEmergency) })
	r.at(30*time.Second, func() { r.goTo(shivx.Level3); r.host.mute = false })
	r.run(time.Hour)
	require.Len(t, r.host.told, 1, "of both at once")
	require.Contains(t, r.host.told[0].Message, "h1 is in EMERGENCY since")
	require.Contains(t, r.host.told[0].Message, "By now it is over: h1 is out of EMERGENCY since")
}

func TestDegradationGoesOnTellingUntilPeopleAreReached(t *testing.T) {
	r := newResponse(t)
	r.host.mute = true
	r.at(time.Second, func() { r.goTo(shivx.LevelEmergency) })
	r.at(10*time.Minute, func() {
		require.Len(t, r.status().Untold, 1)
		require.Equal(t, uint64(1), r.status().Applied, "the level is applied meanwhile")
		r.host.mu.Lock()
		r.host.mute = false
		r.host.mu.Unlock()
	})
	got := r.run(time.Hour)
	require.Len(t, r.host.told, 1)
	require.Empty(t, got.Untold)
}

func TestDegradationAsksAHostThatIsAwayAgain(t *testing.T) {
	r := newResponse(t)
	r.at(time.Second, func() {
		r.host.away = true
		r.goTo(shivx.Level2)
	})
	r.at(time.Minute, func() {
		require.True(t, r.status().HostAway())
		require.Equal(t, shivx.Level2, r.status().LevelNow(), "what the host said last")
	})
	r.at(11*time.Minute, func() { // the next signal is a reason to ask at once
		r.host.away = false
		r.goTo(shivx.Level1)
	})
	r.at(11*time.Minute+time.Second, func() { require.False(t, r.status().HostAway()) })
	got := r.run(time.Hour)
	require.Equal(t, uint64(2), got.Applied)
	require.Len(t, r.host.applied, 1+3+1, "every five minutes, and when it was back")
	require.Empty(t, r.host.told)
}

func TestDegradationHandsOverridesToTheHost(t *testing.T) {
	r := newResponse(t)
	var first, again *answer
	req := shivx.OverrideRequest{Level: "level-2", For: shivx.Duration(30 * time.Minute), By: "ana", Why: "load test"}
	r.at(time.Second, func() { first = r.override("u1", req) })
	r.at(time.Minute, func() {
		require.Empty(t, r.status().Changes, "the host's ledger tells of it, as of every change")
		r.send(r.host.changes[0])
	})
	r.at(2*time.Minute, func() { again = r.override("u2", shivx.OverrideRequest{End: true, By: "ana"}) })
	got := r.run(time.Hour)
	require.NoError(t, first.rejected)
	require.NoError(t, first.err)
	require.Equal(t, shivx.Level2, first.change.To)
	require.Equal(t, "degradation@h1/u1", r.host.asked[0].Key)
	require.Equal(t, shivx.Level2, r.host.asked[0].Request.Level, "in the one spelling")
	require.Equal(t, shivx.Level2, got.Level)
	var app *temporal.ApplicationError
	require.ErrorAs(t, again.err, &app)
	require.Equal(t, activities.ErrNoOverride, app.Type())
	require.Equal(t, "no override is in force", app.Message())
	require.True(t, app.NonRetryable())
}

func TestDegradationRefusesOverridesThatSayTooLittle(t *testing.T) {
	half := shivx.Duration(30 * time.Minute)
	for want, req := range map[string]shivx.OverrideRequest{
		`set "by" to your name`:             {Level: shivx.Level1, For: half, Why: "test"},
		`set "why" to one line`:             {Level: shivx.Level1, For: half, By: "ana"},
		`set "for" to a time such as "30m"`: {Level: "level_1", By: "ana", Why: "test"},
		"write one of NORMAL, LEVEL_1":      {Level: "LEVEL_9", For: half, By: "ana", Why: "test"},
		`must end, and within 168h0m0s`:     {Level: shivx.Level1, For: shivx.Duration(shivx.MaxOverride + 1), By: "ana", Why: "test"},
		`send "end" alone`:                  {End: true, Level: shivx.Level1, By: "ana"},
	} {
		t.Run(want, func(t *testing.T) {
			r := newResponse(t)
			var a *answer
			r.at(time.Second, func() { a = r.override("u", req) })
			r.run(time.Minute)
			var app *temporal.ApplicationError
			require.ErrorAs(t, a.rejected, &app)
			require.ErrorContains(t, a.rejected, want)
			require.True(t, app.NonRetryable())
			require.Empty(t, r.host.asked)
		})
	}
}

func TestDegradationTakesNoOverrideThatNobodyWaitsForAnyMore(t *testing.T) {
	r := newResponse(t)
	req := shivx.OverrideRequest{Level: shivx.Level1, For: shivx.Duration(time.Hour), By: "ana", Why: "test", NotAfter: r.env.Now().Add(time.Minute)}
	var inTime, late *answer
	r.at(time.Second, func() { inTime = r.override("u1", req) })
	r.at(2*time.Minute, func() { late = r.override("u2", req) })
	r.run(time.Hour)
	require.NoError(t, inTime.rejected)
	require.ErrorContains(t, late.rejected, "nobody waits for it any more")
	require.Len(t, r.host.asked, 1)
}

func TestDegradationSaysWhatToDoWhenTheHostTakesNoOverride(t *testing.T) {
	r := newResponse(t)
	r.host.away = true
	var set, end *answer
	r.at(time.Second, func() {
		set = r.override("u1", shivx.OverrideRequest{Level: shivx.Level1, For: shivx.Duration(time.Hour), By: "ana", Why: "test"})
		end = r.override("u2", shivx.OverrideRequest{End: true, By: "ana"})
	})
	r.run(time.Minute)
	require.ErrorContains(t, set.err, "the agent of h1 did not take the override")
	require.ErrorContains(t, set.err, "shivx level set LEVEL_1 --local")
	require.ErrorContains(t, end.err, "shivx level clear --local")
	var app *temporal.ApplicationError
	require.ErrorAs(t, set.err, &app)
	require.Equal(t, activities.ErrHostAway, app.Type())
}

func TestDegradationContinuesAsNewWithItsState(t *testing.T) {
	r := newResponse(t)
	r.host.broken["stop-batch"] = "exit status 1"
	var before workflows.DegradationState
	r.at(time.Second, func() { r.goTo(shivx.LevelEmergency) })
	r.at(15*time.Second, func() {
		before = r.status()
		r.host.during = sync.OnceFunc(func() { // the hooks are tried again; meanwhile a change comes
			r.env.SetContinueAsNewSuggested(true)
			r.goTo(shivx.Level3)
		})
	})
	r.env.ExecuteWorkflow(shivx.TypeDegradationResponse, workflows.DegradationInput{Host: "h1"})
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, r.env.GetWorkflowError(), &next)
	var in workflows.DegradationInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &in))
	require.Equal(t, "h1", in.Host)
	require.Equal(t, []uint64{1, 2}, numbers(in.State.Changes))
	require.Equal(t, shivx.Level3, in.State.Level)
	require.Equal(t, before.Told, in.State.Told[:1])
	require.Positive(t, in.State.Failures)

	// Goes on where it stopped: what was seen stays seen, and what is to be done is done.
	after := newResponse(t)
	after.host.changes, after.host.broken = r.host.changes, map[string]string{}
	after.at(time.Second, func() { after.send(r.host.changes[0]); after.send(r.host.changes[1]) })
	var got workflows.DegradationState
	after.at(time.Hour, func() { got = after.status(); after.env.CancelWorkflow() })
	after.env.ExecuteWorkflow(shivx.TypeDegradationResponse, in)
	require.Equal(t, []uint64{1, 2}, numbers(got.Changes))
	require.Zero(t, got.Failures)
	require.Len(t, append(r.host.told, after.host.told...), 2, "the emergency and its end, each once")
}

func TestDegradationShowsItselfInTheTemporalUI(t *testing.T) {
	r := newResponse(t)
	r.at(time.Second, func() {
		r.host.broken["stop-batch"] = "exit | status 1"
		r.goTo(shivx.Level1)
		c := r.host.change(shivx.LevelEmergency, r.env.Now())
		c.Number = 4
		c.Override = &shivx.Override{Level: shivx.LevelEmergency, By: "ana", Why: "drill", Until: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		r.send(c)
	})
	r.at(time.Minute, func() {
		v, err := r.env.QueryWorkflow("__temporal_workflow_metadata")
		require.NoError(t, err)
		var meta sdkpb.WorkflowMetadata
		require.NoError(t, v.Get(&meta))
		for _, want := range []string{"### h1: EMERGENCY", "| override | EMERGENCY until 2026-01-02T03:04:05Z by ana: drill |",
			`exit \| status 1`, "| missing changes | 2–3 |", "| 4 | ", "change to EMERGENCY"} {
			require.Contains(t, meta.CurrentDetails, want)
		}
		def := meta.Definition
		described := map[string]bool{}
		for _, d := range slices.Concat(def.SignalDefinitions, def.UpdateDefinitions, def.QueryDefinitions) {
			described[d.Name] = d.Description != ""
		}
		for _, name := range []string{shivx.SignalHealth, shivx.UpdateOverride, shivx.QueryStatus} {
			require.True(t, described[name], name)
		}
	})
	r.run(2 * time.Minute)
}

func TestDegradationNeedsAHost(t *testing.T) {
	env := newEnv(t)
	workflows.Register(env)
	env.ExecuteWorkflow(shivx.TypeDegradationResponse, workflows.DegradationInput{})
	require.ErrorContains(t, errors.Unwrap(env.GetWorkflowError()), `{"host":"HOST"}`)
}
