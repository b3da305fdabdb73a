package workflows_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
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

const attacker = "203.0.113.7"

// isolating is a ThreatIsolation under test.
type isolating struct {
	t     *testing.T
	env   *testsuite.TestWorkflowEnvironment
	began time.Time
	// memos and changed are what hosts see: each memo, and the search attribute of the last one.
	memos   []shivx.Isolation
	changed time.Time
	outcome string
	// lift is what earlier runs of the source say; asked counts who wanted to know.
	lift  *shivx.Isolation
	asked int
}

func newIsolating(t *testing.T) *isolating {
	t.Helper()
	r := &isolating{t: t, env: newEnv(t)}
	workflows.Register(r.env)
	r.env.SetStartTime(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC))
	r.began = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	activities.LastLift.Register(r.env, func(_ context.Context, in activities.LastLiftInput) (activities.LastLiftResult, error) {
		require.Equal(t, attacker, in.Source)
		require.NotEmpty(t, in.RunID)
		r.asked++
		return activities.LastLiftResult{Lift: r.lift}, nil
	})
	r.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: shivx.IsolationID(attacker)})
	r.env.OnUpsertMemo(mock.Anything).Run(func(args mock.Arguments) {
		r.memos = append(r.memos, args.Get(0).(map[string]any)[shivx.MemoIsolation].(shivx.Isolation))
	}).Return(nil).Maybe()
	r.env.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(args mock.Arguments) {
		sa := args.Get(0).(temporal.SearchAttributes)
		if at, ok := sa.GetTime(activities.AttrChanged); ok {
			r.changed = at
		}
		if o, ok := sa.GetKeyword(activities.AttrOutcome); ok {
			r.outcome = o
		}
	}).Return(nil).Maybe()
	return r
}

func (r *isolating) at(d time.Duration, f func()) { r.env.RegisterDelayedCallback(f, d) }

func (r *isolating) isolate(i shivx.Isolation) { r.env.SignalWorkflow(shivx.SignalIsolate, i) }

// begun is an isolation as host h begins it, d after the start of the test.
func (r *isolating) begun(h string, d, term time.Duration) shivx.Isolation {
	at := r.began.Add(d)
	return shivx.Isolation{Source: attacker, Since: at, Changed: at, Until: at.Add(term), Type: shivx.ThreatBruteForceCritical,
		Reason: "11 failures within 1m", Offence: 1, By: shivx.Guardian, Host: h, Threat: "threat/" + h}
}

// extended is the isolation i after ana has changed its term on the host.
func (r *isolating) extended(i shivx.Isolation, d, term time.Duration) shivx.Isolation {
	i.Changed, i.Until, i.By, i.Why = r.began.Add(d), r.began.Add(d+term), "ana", "as agreed"
	return i
}

func (r *isolating) lifted(i shivx.Isolation, d time.Duration) shivx.Isolation {
	i.Changed, i.Lifted, i.By, i.Why = r.began.Add(d), true, "ana", "ours"
	return i
}

// run runs the workflow to its end.
func (r *isolating) run(in any) (out workflows.IsolationResult, err error) {
	r.t.Helper()
	r.env.ExecuteWorkflow(shivx.TypeThreatIsolation, in)
	require.True(r.t, r.env.IsWorkflowCompleted())
	if err := r.env.GetWorkflowError(); err != nil {
		return out, err
	}
	require.NoError(r.t, r.env.GetWorkflowResult(&out))
	return out, nil
}

// told runs a workflow that hosts started: what is sent at 0 came with the start.
func (r *isolating) told() workflows.IsolationResult {
	r.t.Helper()
	out, err := r.run(map[string]string{"source": attacker})
	require.NoError(r.t, err)
	return out
}

func (r *isolating) status() (out workflows.IsolationState) {
	r.t.Helper()
	v, err := r.env.QueryWorkflow(shivx.QueryStatus)
	require.NoError(r.t, err)
	require.NoError(r.t, v.Get(&out))
	return out
}

func (r *isolating) last() shivx.Isolation {
	r.t.Helper()
	require.NotEmpty(r.t, r.memos)
	return r.memos[len(r.memos)-1]
}

// extension is what became of an update "extend".
type extension struct {
	rejected, err error
	got           shivx.Isolation
	done          bool
}

func (r *isolating) extend(id string, req any) *extension {
	e := &extension{}
	r.env.UpdateWorkflow(shivx.UpdateExtend, id, &testsuite.TestUpdateCallback{
		OnReject: func(err error) { e.rejected = err }, OnAccept: func() {},
		OnComplete: func(v any, err error) {
			e.done, e.err = true, err
			e.got, _ = v.(shivx.Isolation)
		},
	}, req)
	return e
}

func (r *isolating) details() string {
	r.t.Helper()
	v, err := r.env.QueryWorkflow("__temporal_workflow_metadata")
	require.NoError(r.t, err)
	var meta sdkpb.WorkflowMetadata
	require.NoError(r.t, v.Get(&meta))
	return meta.CurrentDetails
}

func TestIsolationOfAHostEndsAtItsTerm(t *testing.T) {
	r := newIsolating(t)
	i := r.begun("h1", -time.Second, 10*time.Minute)
	r.at(0, func() { r.isolate(i) })
	r.at(5*time.Minute, func() {
		require.Equal(t, i, r.status().Isolation)
		require.Contains(t, r.details(), "### 203.0.113.7: isolated until 2026-01-02T03:09:59Z")
		require.Contains(t, r.details(), "| offence | 1 |")
		require.Contains(t, r.details(), "| because | 11 failures within 1m |")
	})
	got := r.told()
	require.Equal(t, workflows.IsolationExpired, got.Outcome)
	require.Equal(t, i.Until, got.Ended.Truncate(time.Second))
	require.Equal(t, []shivx.Isolation{i}, r.memos, "the signal that came with the start holds, not the default term")
	require.Equal(t, got.Ended, r.changed)
	require.Equal(t, workflows.IsolationExpired, r.outcome)
	require.Equal(t, 1, r.asked)
	require.Contains(t, r.details(), "no longer isolated: the term is over")
}

func TestIsolationByHandNeedsNoMoreThanASource(t *testing.T) {
	for name, c := range map[string]struct {
		in   map[string]any
		want shivx.Isolation
	}{
		"source alone": {map[string]any{"source": attacker},
			shivx.Isolation{By: "temporal", Reason: "isolated by hand", Until: time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC)}},
		"with a term": {map[string]any{"source": attacker, "for": "5m", "by": "ana", "why": "scans us"},
			shivx.Isolation{By: "ana", Reason: "scans us", Until: time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newIsolating(t)
			got, err := r.run(c.in)
			require.NoError(t, err)
			c.want.Source, c.want.Type, c.want.Since, c.want.Changed = attacker, shivx.ThreatReported, r.began, r.began
			require.Equal(t, []shivx.Isolation{c.want}, r.memos)
			require.Equal(t, workflows.IsolationExpired, got.Outcome)
			require.Zero(t, r.asked, "nothing can be newer than what is said now")
		})
	}
}

func TestIsolationWithoutEndHoldsUntilItIsLifted(t *testing.T) {
	r := newIsolating(t)
	r.at(1000*24*time.Hour, func() {
		require.True(t, r.status().Until.IsZero())
		require.Contains(t, r.details(), "isolated until a person ends it")
		r.env.SignalWorkflow(shivx.SignalRestore, map[string]string{"by": "ana", "why": "our own monitoring"})
	})
	got, err := r.run(map[string]any{"source": attacker, "indefinite": true, "by": "ana"})
	require.NoError(t, err)
	require.Equal(t, workflows.IsolationRestored, got.Outcome)
	require.Equal(t, "our own monitoring", got.Why)
	require.True(t, r.last().Lifted)
	require.Equal(t, "ana", r.last().By)
	require.Equal(t, "isolated by hand", r.last().Reason, "what for stays known")
	require.Equal(t, r.began.Add(1000*24*time.Hour), r.last().Changed)
	require.Equal(t, workflows.IsolationRestored, r.outcome)
}

func TestIsolationIsLiftedThoughItsHostsClockIsAhead(t *testing.T) {
	r := newIsolating(t)
	r.at(0, func() { r.isolate(r.begun("h1", time.Hour, 10*time.Minute)) })
	r.at(time.Minute, func() { r.env.SignalWorkflow(shivx.SignalRestore, map[string]string{"by": "ana"}) })
	got := r.told()
	require.Equal(t, workflows.IsolationRestored, got.Outcome)
	require.Equal(t, r.began.Add(time.Hour+time.Microsecond), r.last().Changed, "hosts take it for newer than what they said")
}

func TestIsolationToldLateIsOverAtOnce(t *testing.T) {
	r := newIsolating(t)
	r.at(0, func() { r.isolate(r.begun("h1", -time.Hour, 10*time.Minute)) })
	got := r.told()
	require.Equal(t, workflows.IsolationExpired, got.Outcome)
	require.Equal(t, r.began, got.Ended)
	require.Zero(t, r.asked)
}

func TestIsolationIsNotBroughtBackByWhatIsToldLate(t *testing.T) {
	for name, c := range map[string]struct {
		lift time.Duration
		want string
	}{
		"let go after it":  {-time.Minute, workflows.IsolationRestored},
		"let go before it": {-3 * time.Minute, workflows.IsolationExpired},
	} {
		t.Run(name, func(t *testing.T) {
			r := newIsolating(t)
			i := r.begun("h1", -2*time.Minute, time.Hour)
			lift := r.lifted(i, c.lift)
			r.lift = &lift
			r.at(0, func() { r.isolate(i) })
			got := r.told()
			require.Equal(t, c.want, got.Outcome)
			require.Equal(t, c.want == workflows.IsolationRestored, r.last().Lifted)
		})
	}
}

func TestIsolationHoldsThoughTheEarlierRunsCannotBeRead(t *testing.T) {
	r := newIsolating(t)
	r.env.OnActivity(activities.LastLift.Name, mock.Anything, mock.Anything).Return(activities.LastLiftResult{}, errors.New("no visibility"))
	r.at(0, func() { r.isolate(r.begun("h1", 0, 10*time.Minute)) })
	require.Equal(t, workflows.IsolationExpired, r.told().Outcome)
}

func TestIsolationsOfSeveralHostsMakeTheLongest(t *testing.T) {
	r := newIsolating(t)
	long, short := r.begun("h1", 0, time.Hour), r.begun("h2", time.Minute, 10*time.Minute)
	short.Offence = 3
	r.at(0, func() { r.isolate(long) })
	r.at(2*time.Minute, func() { r.isolate(short) })
	r.at(3*time.Minute, func() {
		got := r.status().Isolation
		require.Equal(t, long.Until, got.Until)
		require.Equal(t, 3, got.Offence, "the highest")
		require.Equal(t, short.Changed.Add(time.Microsecond), got.Changed, "the host of the shorter one must follow")
		r.isolate(long)
		r.isolate(short)
	})
	r.at(4*time.Minute, func() {
		require.Len(t, r.memos, 2, "duplicates change nothing")
		forEver := r.begun("h3", 3*time.Minute, 0)
		forEver.Until, forEver.By = time.Time{}, "ben"
		r.isolate(forEver)
	})
	r.at(48*time.Hour, func() {
		require.True(t, r.status().Until.IsZero())
		r.env.SignalWorkflow(shivx.SignalRestore, r.lifted(long, 2*time.Minute)) // before the last one began
	})
	r.at(49*time.Hour, func() {
		require.False(t, r.status().Lifted, "an older restore changes nothing")
		r.env.SignalWorkflow(shivx.SignalRestore, r.lifted(long, 49*time.Hour))
	})
	require.Equal(t, workflows.IsolationRestored, r.told().Outcome)
}

func TestIsolationThatComesWithTheRestoreIsNotLost(t *testing.T) {
	r := newIsolating(t)
	i := r.begun("h1", -time.Hour, 2*time.Hour)
	r.at(0, func() { // in one task
		r.isolate(i)
		r.env.SignalWorkflow(shivx.SignalRestore, r.lifted(i, -time.Minute))
		r.isolate(r.begun("h2", -time.Second, 10*time.Minute))
	})
	r.at(2*time.Minute, func() { require.True(t, r.status().InForce(r.env.Now())) })
	got := r.told()
	require.Equal(t, workflows.IsolationExpired, got.Outcome)
	require.Equal(t, r.began.Add(10*time.Minute-time.Second), got.Ended.Truncate(time.Second))
}

func TestIsolationIsChangedByWhoKnowsIt(t *testing.T) {
	r := newIsolating(t)
	i := r.begun("h1", 0, time.Hour)
	r.at(0, func() { r.isolate(i) })
	r.at(time.Minute, func() { r.isolate(r.extended(i, time.Minute, 5*time.Minute)) }) // shorter, on the host
	var longer, endless *extension
	r.at(2*time.Minute, func() {
		require.Equal(t, r.began.Add(6*time.Minute), r.status().Until)
		longer = r.extend("u1", map[string]string{"for": "24h", "by": "ben", "why": "still there"})
	})
	r.at(20*time.Hour, func() {
		require.Equal(t, r.began.Add(24*time.Hour+2*time.Minute), r.status().Until)
		r.isolate(i) // told again
	})
	r.at(21*time.Hour, func() {
		require.Equal(t, r.began.Add(24*time.Hour+2*time.Minute), r.status().Until)
		endless = r.extend("u2", shivx.IsolationRequest{Indefinite: true, By: "ben"})
	})
	r.at(30*time.Hour, func() {
		require.True(t, r.status().Until.IsZero())
		r.extend("u3", shivx.IsolationRequest{Source: attacker, For: shivx.Duration(time.Minute), By: "ben"})
	})
	got := r.told()
	require.NoError(t, longer.err)
	require.Equal(t, "ben", longer.got.By)
	require.Equal(t, "still there", longer.got.Why)
	require.Equal(t, i.Reason, longer.got.Reason)
	require.True(t, endless.got.Until.IsZero())
	require.Equal(t, workflows.IsolationExpired, got.Outcome)
	require.Equal(t, r.began.Add(30*time.Hour+time.Minute), got.Ended.Truncate(time.Second))
}

func TestIsolationRefusesExtensionsThatSayTooLittle(t *testing.T) {
	hour := shivx.Duration(time.Hour)
	for want, req := range map[string]shivx.IsolationRequest{
		`set "by" to your name`:                    {For: hour},
		`an extension needs a term`:                {By: "ana"},
		`set one of "for" and "indefinite"`:        {By: "ana", For: hour, Indefinite: true},
		`is not between nothing`:                   {By: "ana", For: -hour},
		`isolates 203.0.113.7, not 198.51.100.1`:   {By: "ana", For: hour, Source: "198.51.100.1"},
		`is no address — write an address such as`: {By: "ana", For: hour, Source: "nonsense"},
	} {
		t.Run(want, func(t *testing.T) {
			r := newIsolating(t)
			var e *extension
			r.at(time.Second, func() { e = r.extend("u", req) })
			_, err := r.run(map[string]any{"source": attacker})
			require.NoError(t, err)
			require.ErrorContains(t, e.rejected, want)
			var app *temporal.ApplicationError
			require.ErrorAs(t, e.rejected, &app)
			require.True(t, app.NonRetryable())
			require.Len(t, r.memos, 1)
		})
	}
}

func TestIsolationDoesNotTakeWhatIsAboutAnotherSource(t *testing.T) {
	r := newIsolating(t)
	other := r.begun("h1", time.Second, 24*time.Hour)
	other.Source = "198.51.100.1"
	r.at(time.Minute, func() {
		r.isolate(other)
		r.env.SignalWorkflow(shivx.SignalRestore, shivx.Isolation{Source: "nonsense", By: "ana"})
	})
	_, err := r.run(map[string]any{"source": attacker})
	require.NoError(t, err)
	require.Len(t, r.memos, 1)
}

func TestIsolationThatIsCancelledIsLifted(t *testing.T) {
	r := newIsolating(t)
	r.at(0, func() { r.isolate(r.begun("h1", 0, time.Hour)) })
	r.at(time.Minute, func() { r.env.CancelWorkflow() })
	got := r.told()
	require.Equal(t, workflows.IsolationRestored, got.Outcome)
	require.Equal(t, "the run was cancelled", got.Why)
	require.True(t, r.last().Lifted)
}

func TestIsolationNeedsASource(t *testing.T) {
	for in, want := range map[string]string{
		"": "is no address", "nonsense": "write an address such as 203.0.113.7", "203.0.113.0/99": "is no network",
	} {
		_, err := newIsolating(t).run(map[string]any{"source": in})
		var app *temporal.ApplicationError
		require.ErrorAs(t, err, &app)
		require.Equal(t, "BadInput", app.Type())
		require.True(t, app.NonRetryable())
		require.ErrorContains(t, err, want)
	}
	_, err := newIsolating(t).run(map[string]any{"source": attacker, "for": "10000h"})
	require.ErrorContains(t, err, "is not between nothing and")
}

func TestIsolationStartedUnderAnotherIdIsHandedOver(t *testing.T) {
	r := newIsolating(t)
	r.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: "by hand"})
	const id = "isolation/2001:db8::/64"
	var started []string
	r.env.SetOnChildWorkflowStartedListener(func(info *workflow.Info, _ workflow.Context, _ converter.EncodedValues) {
		started = append(started, info.WorkflowExecution.ID)
	})
	got, err := r.run(map[string]any{"source": "2001:db8::1", "by": "ana"})
	require.NoError(t, err)
	require.Equal(t, workflows.IsolationHandedOver, got.Outcome)
	require.Equal(t, id, got.Run)
	require.Equal(t, []string{id}, started)
}

func TestIsolationContinuesAsNewWithItsState(t *testing.T) {
	r := newIsolating(t)
	i := r.begun("h1", 0, time.Hour)
	r.at(0, func() { r.isolate(i) })
	r.at(time.Minute, func() { r.isolate(r.begun("h2", time.Minute, 2*time.Hour)) })
	r.at(2*time.Minute, func() { r.env.SetContinueAsNewSuggested(true) })
	_, err := r.run(map[string]string{"source": attacker})
	var in workflows.IsolationInput
	nextInput(t, err, &in)

	after := newIsolating(t)
	after.env.SetStartTime(r.began.Add(2 * time.Minute))
	after.at(time.Minute, func() {
		require.Contains(t, after.details(), "isolated until 2026-01-02T05:01:00Z")
		after.isolate(i)
	})
	after.at(2*time.Minute, func() { require.Len(t, after.status().Changes, 2) })
	got, err := after.run(in)
	require.NoError(t, err)
	require.Equal(t, workflows.IsolationExpired, got.Outcome)
	require.Equal(t, r.began.Add(2*time.Hour+time.Minute), got.Ended.Truncate(time.Second))
	require.Empty(t, after.memos, "what the hosts see goes along")
	require.Zero(t, after.asked)
}

func TestIsolationRemembersSoMuchAndNoMore(t *testing.T) {
	r := newIsolating(t)
	r.at(0, func() { r.isolate(r.begun("h1", 0, time.Hour)) })
	r.at(time.Second, func() {
		for n := range 300 { // each a little later, and over a little sooner
			i := r.begun("h2", time.Duration(n)*time.Microsecond, time.Hour-time.Duration(n)*time.Second)
			i.Offence = n
			r.isolate(i)
		}
	})
	r.at(2*time.Second, func() {
		s := r.status()
		require.LessOrEqual(t, len(s.Claims), 50)
		require.LessOrEqual(t, len(s.Changes), 50)
		require.Equal(t, 299, s.Offence)
	})
	r.told()
}

func TestIsolationEndsWithTheTermThatAPersonGaveThoughItIsToldLate(t *testing.T) {
	r := newIsolating(t)
	i := r.begun("h1", 0, 24*time.Hour)
	r.at(0, func() { r.isolate(i) })
	r.at(time.Hour, func() { r.isolate(r.extended(i, time.Minute, time.Minute)) })
	got := r.told()
	require.Equal(t, workflows.IsolationExpired, got.Outcome)
	require.Equal(t, r.began.Add(time.Hour), got.Ended.Truncate(time.Second))
	require.True(t, r.last().Changed.After(i.Changed), "hosts take it for the later word")
	require.False(t, r.last().InForce(got.Ended))
}
