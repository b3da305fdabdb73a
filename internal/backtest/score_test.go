package backtest

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScoreOfFourDecisions(t *testing.T) {
	s := score([]decision{
		{0.75, true, true},
		{0.5, true, false},
		{0.25, false, true},
		{0, false, false},
	})
	require.Equal(t, 4, s.Decisions)
	require.Equal(t, 2, s.Positives)
	require.InDelta(t, 0.5, float64(s.Precision), 1e-9)
	require.InDelta(t, 0.5, float64(s.Recall), 1e-9)
	require.InDelta(t, 0.5, float64(s.F1), 1e-9)
	// The first positive at precision 1, the second at 2/3.
	require.InDelta(t, 0.5*1+0.5*2/3, float64(s.AUPRC), 1e-9)
	// (0.0625 + 0.25 + 0.5625 + 0)/4 against 0.25.
	require.InDelta(t, 1-0.21875/0.25, float64(s.BrierSkill), 1e-9)
	// Each in a bin of its own.
	require.InDelta(t, (0.25+0.5+0.75+0)/4, float64(s.CalibrationError), 1e-9)
}

func TestScoreOfEqualProbabilities(t *testing.T) {
	var all []decision
	for i := range 10 {
		all = append(all, decision{0.2, false, i < 2})
	}
	s := score(all)
	require.InDelta(t, 0.2, float64(s.AUPRC), 1e-6, "in whatever order they come")
	require.InDelta(t, 0, float64(s.BrierSkill), 1e-6, "the base rate has no skill")
	require.InDelta(t, 0, float64(s.CalibrationError), 1e-6, "but it is calibrated")
	require.Zero(t, float64(s.Recall))
	require.True(t, math.IsNaN(float64(s.Precision)), "nothing was alerted")
}

func TestScoreWithoutPositives(t *testing.T) {
	s := score([]decision{{1, true, false}, {0, false, false}})
	require.InDelta(t, 0, float64(s.Precision), 0)
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"decisions":2,"positives":0,"precision":0,"recall":null,"f1":0,"auprc":null,"brier_skill":null,
		"calibration_error":0.5}`, string(text))
	_, err = json.Marshal(score(nil))
	require.NoError(t, err)
}

func TestMedian(t *testing.T) {
	require.InDelta(t, 2, float64(median([]float64{9, 1, 2})), 0)
	require.InDelta(t, 1.5, float64(median([]float64{2, 1})), 0)
	require.True(t, math.IsNaN(float64(median(nil))))
}
