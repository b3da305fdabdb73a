package shivx_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestLevelOfScore(t *testing.T) {
	for score, want := range map[float64]shivx.Level{
		100: shivx.LevelNormal, 80: shivx.LevelNormal, 79.9: shivx.Level1, 65: shivx.Level1, 64.9: shivx.Level2,
		50: shivx.Level2, 49.9: shivx.Level3, 45: shivx.Level3, 30: shivx.Level3, 29.9: shivx.LevelEmergency, 0: shivx.LevelEmergency,
	} {
		require.Equal(t, want, shivx.LevelOf(score), "%v", score)
	}
}

func TestParseLevel(t *testing.T) {
	for _, text := range []string{"LEVEL_2", "level-2", "Level_2"} {
		l, err := shivx.ParseLevel(text)
		require.NoError(t, err)
		require.Equal(t, shivx.Level2, l)
	}
	_, err := shivx.ParseLevel("LEVEL_4")
	require.ErrorContains(t, err, "LEVEL_4")
	require.Contains(t, shivx.HintOf(err), "EMERGENCY")
}

func TestOverrideRequests(t *testing.T) {
	good := shivx.OverrideRequest{Level: shivx.Level1, For: shivx.Duration(time.Hour), By: "ann", Why: "deploy"}
	require.NoError(t, good.Check())
	require.NoError(t, shivx.OverrideRequest{By: "ann", End: true}.Check())
	for name, spoil := range map[string]func(*shivx.OverrideRequest){
		"nobody":                 func(r *shivx.OverrideRequest) { r.By = " " },
		"no level":               func(r *shivx.OverrideRequest) { r.Level = "" },
		"unknown level":          func(r *shivx.OverrideRequest) { r.Level = "LEVEL_9" },
		"level in another form":  func(r *shivx.OverrideRequest) { r.Level = "level-1" },
		"no reason":              func(r *shivx.OverrideRequest) { r.Why = "" },
		"no end":                 func(r *shivx.OverrideRequest) { r.For = 0 },
		"too long":               func(r *shivx.OverrideRequest) { r.For = shivx.Duration(shivx.MaxOverride + 1) },
		"the end of one with it": func(r *shivx.OverrideRequest) { r.End = true },
	} {
		r := good
		spoil(&r)
		err := r.Check()
		require.Error(t, err, name)
		require.NotEmpty(t, shivx.HintOf(err), name)
	}
}
