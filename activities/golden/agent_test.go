package golden_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	goldenacts "github.com/shivx/shivx/activities/golden"
)

// TestLocalRestoreBesideTheAgent: an agent that runs keeps a restore from beginning, and one that starts later
// waits until the restore has ended.
func TestLocalRestoreBesideTheAgent(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	fill(t, s.dir, "good 2")
	pid := s.pid()
	in := shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}}
	l := s.local(nil)
	l.May = func() error { return goldenacts.ErrAgent }
	r, err := l.Restore(t.Context(), in)
	require.ErrorIs(t, err, goldenacts.ErrAgent)
	require.Equal(t, shivx.OutcomeRefused, r.Outcome)
	require.Empty(t, r.Steps)
	require.Equal(t, "good 2", s.word(t))
	require.Equal(t, pid, s.pid())
	require.Empty(t, s.left(t))

	starting, waits, agent := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	l = s.local(nil)
	l.May = func() error { // the agent has not yet been seen, and starts just now
		go func() {
			<-starting
			agent <- s.local(nil).Await(t.Context(), func(why error) { waits <- why })
		}()
		close(starting)
		require.ErrorContains(t, <-waits, "restores on this host")
		return nil
	}
	var ended bool
	l.Told = func(step shivx.GoldenStepReport) {
		select {
		case err := <-agent:
			t.Errorf("the agent did not wait at %s: %v", step.Name, err)
		default:
		}
		ended = step.Name == shivx.GoldenStepFinish
	}
	_, err = l.Restore(t.Context(), in)
	require.NoError(t, err)
	require.True(t, ended)
	require.NoError(t, <-agent)
	require.Equal(t, "good 1", s.word(t))
}
