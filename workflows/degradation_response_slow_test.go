package workflows_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
)

// slow makes an activity of the host take d of the workflow's time.
func (r *response) slow(name string, d time.Duration, result any, err error) {
	r.env.OnActivity(name, mock.Anything, mock.Anything).After(d).Return(result, err)
}

func TestDegradationTellsOfAnEmergencyWhileHooksHang(t *testing.T) {
	r := newResponse(t)
	r.slow(activities.ApplyLevel.Name, 9*time.Minute, activities.AppliedLevel{}, nil)
	r.at(time.Second, func() { r.goTo(shivx.LevelEmergency) })
	r.at(2*time.Second, func() { require.Len(t, r.host.told, 1, "at once") })
	r.run(time.Minute)
}

func TestDegradationAsksForTheNewestLevelWhileAnOldOneHangs(t *testing.T) {
	r := newResponse(t)
	r.slow(activities.ApplyLevel.Name, 9*time.Minute, activities.AppliedLevel{}, nil)
	var asked []uint64
	r.env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, args converter.EncodedValues) {
		var in activities.ApplyLevelInput
		if info.ActivityType.Name == activities.ApplyLevel.Name && args.Get(&in) == nil {
			asked = append(asked, in.Number)
		}
	})
	r.at(time.Minute, func() { r.goTo(shivx.Level1); r.goTo(shivx.Level2) })
	r.at(time.Minute+5*time.Second, func() {
		require.Equal(t, []uint64{0}, asked, "it may still answer")
		require.Equal(t, shivx.Level2, r.status().LevelNow())
	})
	r.at(time.Minute+15*time.Second, func() { require.Equal(t, []uint64{0, 2}, asked) })
	got := r.run(15 * time.Minute)
	require.Equal(t, []uint64{0, 2}, asked, "and what was called off is not asked for again")
	require.Equal(t, uint64(2), got.Applied)
	require.Zero(t, got.Failures)
	require.Empty(t, r.host.told)
}

func TestDegradationTellsOfSomethingNewAtOnceThoughNobodyWasReached(t *testing.T) {
	r := newResponse(t)
	r.host.mute = true
	r.at(time.Second, func() { r.goTo(shivx.LevelEmergency) })
	r.at(10*time.Second, func() {
		require.Len(t, r.status().Untold, 1)
		r.host.mute = false
		r.goTo(shivx.Level3)
	})
	r.at(11*time.Second, func() { require.Len(t, r.host.told, 1) })
	r.run(time.Minute)
}

func TestDegradationTakesNoOverrideThatHadToWaitTooLong(t *testing.T) {
	r := newResponse(t)
	r.slow(activities.SetOverride.Name, 30*time.Second, shivx.LevelChange{To: shivx.Level1}, nil)
	began := 0
	r.env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == activities.SetOverride.Name {
			began++
		}
	})
	req := shivx.OverrideRequest{Level: shivx.Level1, For: shivx.Duration(time.Hour), By: "ana", Why: "test", NotAfter: r.env.Now().Add(20 * time.Second)}
	var first, second *answer
	r.at(time.Second, func() { first = r.override("u1", req); second = r.override("u2", req) })
	r.run(5 * time.Minute)
	require.NoError(t, first.err)
	require.NoError(t, second.rejected, "it came in time")
	require.ErrorContains(t, second.err, "nobody waits for it any more — ask again")
	require.Equal(t, 1, began)
}

func TestDegradationSaysThatAnOverrideMayHaveBeenTaken(t *testing.T) {
	for name, err := range map[string]error{
		"no answer":                    temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_START_TO_CLOSE, nil),
		"gone after an attempt":        temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START, errors.New("heartbeat")),
		"gone in the middle of it all": temporal.NewHeartbeatTimeoutError(),
	} {
		t.Run(name, func(t *testing.T) {
			r := newResponse(t)
			r.env.OnActivity(activities.SetOverride.Name, mock.Anything, mock.Anything).Return(shivx.LevelChange{}, err)
			var a *answer
			r.at(time.Second, func() {
				a = r.override("u", shivx.OverrideRequest{Level: shivx.Level1, For: shivx.Duration(time.Hour), By: "ana", Why: "test"})
			})
			r.run(time.Hour)
			require.ErrorContains(t, a.err, "it may have been taken — shivx level h1 shows it")
			var app *temporal.ApplicationError
			require.ErrorAs(t, a.err, &app)
			require.Equal(t, activities.ErrOverrideUnknown, app.Type())
		})
	}
}
