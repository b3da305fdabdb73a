package host_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
)

// BenchmarkStep is one step in a process that runs already.
func BenchmarkStep(b *testing.B) {
	set := host.New(nil, []host.Spec{spec(b, "obedient")}, nil)
	defer set.Close()
	r, err := set.Get(b.Context(), "obedient")
	require.NoError(b, err)
	for b.Loop() {
		_, err := r.Run(b.Context(), sdk.StepRecover, do("something"))
		require.NoError(b, err)
	}
}

// BenchmarkStart is the start of a plugin up to its description, and its end.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		set := host.New(nil, []host.Spec{spec(b, "obedient")}, nil)
		_, err := set.Get(b.Context(), "obedient")
		require.NoError(b, err)
		set.Close()
	}
}
