package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/resilience"
)

func TestPageShowsTheState(t *testing.T) {
	s := newStand(t)
	s.host.set(shivx.LevelEmergency, 22.9)
	s.host.status.Automatic = shivx.Level3
	s.host.status.Override = &shivx.Override{Level: shivx.LevelEmergency, By: "anna", Why: "<script>alert(1)</script>", Until: s.clock}
	s.host.status.Held = "held by an override"
	s.host.status.Notices = []string{"the clock jumped"}
	s.host.status.Modules = []resilience.Module{{Name: "redis", Critical: true, State: "failing", Restarts: 3, LastError: "no answer"}}
	s.host.status.Hooks = []shivx.HookState{{Name: "stop-reports", Level: shivx.Level1, On: true}}
	rec := s.do("GET", "/", viewerToken, "")
	require.Equal(t, 200, rec.Code)
	page := rec.Body.String()
	for _, text := range []string{
		`<main class="EMERGENCY">`, ">22<", "98 %", "the core only", "LEVEL_3", "disk[/var]", "97.3 %", "77.1", "1 more term costs nothing",
		"memory_writes", "off since 08:00 UTC", "never off", "the clock jumped", "redis", "critical", "no answer", "stop-reports", "1 d 2 h", "3 s ago", "&lt;script&gt;",
	} {
		require.Contains(t, page, text)
	}
	require.NotContains(t, page, "Log out", "a token has no session to end")
	require.Contains(t, s.send("GET", "/", "", with(s.logIn(s.LoginLink()))).Body.String(), "Log out")
}

// TestPagesAreStrict: the policy forbids what the pages therefore must not have.
func TestPagesAreStrict(t *testing.T) {
	s := newStand(t)
	for _, path := range []string{"/", "/login", "/login?code=" + codeOf(t, s.LoginLink())} {
		rec := s.do("GET", path, s.admin, "")
		require.Contains(t, rec.Header().Get("Content-Security-Policy"), "default-src 'none'")
		require.NotContains(t, rec.Header().Get("Content-Security-Policy"), "unsafe")
		require.NotRegexp(t, `(?i)\sstyle=|<style|\son[a-z]+=|<script>|javascript:|https?://`, rec.Body.String(), path)
	}
}

func TestPageBeforeTheFirstSample(t *testing.T) {
	s := newStand(t)
	s.host.status.Score, s.host.status.SampledAt, s.host.status.MonitoringActive = nil, time.Time{}, false
	page := s.do("GET", "/", viewerToken, "").Body.String()
	require.Contains(t, page, "not yet")
	require.Contains(t, page, "the monitor does not run")
	require.NotContains(t, page, "What the score is made of")
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 400 * time.Millisecond: "0 s", 59 * time.Second: "59 s", 90 * time.Second: "1 min 30 s",
		25 * time.Hour: "1 d 1 h", 2*time.Hour + 3*time.Minute: "2 h 3 min",
	} {
		require.Equal(t, want, span(d))
	}
}
