package shivx_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestGoldenTarget(t *testing.T) {
	for text, want := range map[string]shivx.GoldenTarget{"shop": {Set: "shop"}, "shop@web-1": {Set: "shop", Host: "web-1"}} {
		got, err := shivx.ParseGoldenTarget(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, text, got.String())
	}
	for _, text := range []string{"", "@web-1", "shop@", "shop@a@b", "a/b", "shop@a/b"} {
		_, err := shivx.ParseGoldenTarget(text)
		require.Error(t, err, text)
		require.NotEmpty(t, shivx.HintOf(err))
	}
}

// TestGoldenWire: what stands in histories and in the Temporal UI is what it was.
func TestGoldenWire(t *testing.T) {
	target := shivx.GoldenTarget{Set: "shop", Host: "web-1"}
	for a, id := range map[shivx.GoldenAction]string{
		shivx.GoldenBackup: "golden/backup/shop@web-1", shivx.GoldenVerify: "golden/verify/shop@web-1",
		shivx.GoldenRestore: "golden/restore/shop@web-1", shivx.GoldenSnapshot: "golden/snapshot/shop@web-1",
	} {
		require.Equal(t, id, shivx.GoldenID(a, target))
	}
	require.Len(t, shivx.GoldenActions(), 4)

	in, err := json.Marshal(shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: shivx.GoldenTarget{Set: "shop"}}})
	require.NoError(t, err)
	require.JSONEq(t, `{"set":"shop"}`, string(in), "what is not said stands nowhere")
	out, err := json.Marshal(shivx.GoldenResult{GoldenTarget: target, Steps: []shivx.GoldenStepReport{{Name: shivx.GoldenStepStop, Service: "web", Outcome: shivx.StepDone, Seconds: 0.25}}})
	require.NoError(t, err)
	require.JSONEq(t, `{"set":"shop","host":"web-1","outcome":"","message":"","started":"0001-01-01T00:00:00Z","seconds":0,
		"steps":[{"name":"stop","service":"web","seconds":0.25,"outcome":"done"}]}`, string(out))
}
