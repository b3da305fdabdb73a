package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/test/stand"
)

// feature is what an application is told of one of its features.
func (s *scene) feature(name string) (f shivx.Feature) {
	s.t.Helper()
	resp, err := s.request(http.MethodGet, "/api/features/"+name, appToken, "")
	require.NoError(s.t, err)
	defer func() { _ = resp.Body.Close() }()
	require.NoError(s.t, json.NewDecoder(resp.Body).Decode(&f))
	return f
}

// calm starts an agent of a host at NORMAL without a component.
func calm(t *testing.T, server *stand.Server, host string) *scene {
	t.Helper()
	s := agentOf(t, server, host, "e2e-"+host, " []"+modulesAlone)
	s.awaitLevel("the host to be at NORMAL", func(r resilience.Status) bool { return r.Level == shivx.LevelNormal })
	require.True(t, s.feature("uploads").Enabled)
	return s
}

// isHeld checks what applications are told at once after an override to LEVEL_3.
func (s *scene) isHeld() {
	s.t.Helper()
	f := s.feature("uploads")
	require.False(s.t, f.Enabled)
	require.Contains(s.t, f.Reason, "held at LEVEL_3 by ana")
	require.True(s.t, s.feature("memory_writes").Enabled)
	r, ok := s.resilience()
	require.True(s.t, ok)
	require.Equal(s.t, shivx.Level3, r.Level)
	require.Equal(s.t, shivx.LevelNormal, r.Automatic, "the score is followed meanwhile")
	require.Contains(s.t, r.Held, "held at LEVEL_3 by ana")
}

// ended checks the two changes of an override that has ended by itself.
func (s *scene) ended(lasted time.Duration) {
	s.t.Helper()
	s.awaitLevel("the override to end", func(r resilience.Status) bool { return r.Level == shivx.LevelNormal && r.Override == nil })
	changes := s.agrees()
	require.Len(s.t, changes, 2)
	set, end := changes[0], changes[1]
	require.Equal(s.t, shivx.CauseOverride, set.Cause)
	require.Equal(s.t, "ana", set.Override.By)
	require.Equal(s.t, "test", set.Override.Why)
	require.Equal(s.t, lasted, set.Override.Until.Sub(set.Override.Since))
	require.Equal(s.t, shivx.CauseOverrideEnd, end.Cause)
	require.Nil(s.t, end.Override)
	require.Contains(s.t, end.Reason, "the override to LEVEL_3 by ana is over")
	require.False(s.t, end.At.Before(set.Override.Until), "it ended before its time")
	require.Less(s.t, end.At.Sub(set.Override.Until), 10*time.Second, "it ended late")
	s.t.Logf("ended %s after its time", end.At.Sub(set.Override.Until).Round(time.Millisecond))
	require.True(s.t, s.feature("uploads").Enabled)
}

// overrideEndsByItself: shivx level set through Temporal.
func overrideEndsByItself(t *testing.T, server *stand.Server) {
	s := calm(t, server, "override")
	s.AwaitAgreement(server, s.host, patience) // the runbook is there to be asked
	out, code := s.Shivx(server, "level", "set", "level-3", "--for", "5s", "--why", "test", "--by", "ana", "--host", s.host)
	require.Zero(t, code, out)
	require.Contains(t, out, "held at LEVEL_3 until")
	s.isHeld()
	s.ended(5 * time.Second)
	_, code = s.Shivx(server, "level", "clear", "--by", "ana", "--host", s.host)
	require.NotZero(t, code, "there is nothing to end")
	require.Len(t, s.agrees(), 2)
}

// overrideTemporalAway: on the host it works without Temporal, whose runbook hears of it later.
func overrideTemporalAway(t *testing.T, _ *stand.Server) {
	server := stand.NewServer(t)
	s := calm(t, server, "override-away")
	server.Kill()
	out, code := s.Shivx(server, "level", "set", "LEVEL_3", "--for", "4s", "--why", "test", "--by", "ana", "--host", s.host)
	require.Equal(t, 6, code, out)
	require.Contains(t, out, "--local")
	out, code = s.Shivx(server, "level", "set", "LEVEL_3", "--for", "4s", "--why", "test", "--by", "ana", "--local")
	require.Zero(t, code, out)
	s.isHeld()
	s.awaitLevel("the override to end without Temporal", func(r resilience.Status) bool { return r.Level == shivx.LevelNormal })
	server.Start()
	server.Await()
	s.ended(4 * time.Second)
}

// overrideAgentKilled: an override holds over a crash of the agent, and one that ended while the
// agent was away is ended once.
func overrideAgentKilled(t *testing.T, server *stand.Server) {
	s := calm(t, server, "override-killed")
	out, code := s.Shivx(server, "level", "set", "LEVEL_3", "--for", "6s", "--why", "test", "--by", "ana", "--local")
	require.Zero(t, code, out)
	until := s.LevelChanges()[0].Override.Until
	stand.Await(t, patience, "the flags file", func(context.Context) bool {
		f, err := s.Flags()
		return err == nil && f.Version == 1 && !f.Features["uploads"].Enabled
	})
	s.Kill()
	s.Start()
	s.awaitLevel("the override to hold after a crash", func(r resilience.Status) bool { return r.Override != nil })
	s.isHeld()
	s.Kill()
	stand.Await(t, patience, "the end of the override, while the agent is away", func(context.Context) bool { return time.Now().After(until) })
	for range 3 {
		s.Start()
		s.ended(6 * time.Second)
		s.Kill()
	}
}
