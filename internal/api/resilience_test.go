package api

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/modules"
	"github.com/shivx/shivx/internal/resilience"
)

func TestStatus(t *testing.T) {
	s := newStand(t)
	s.host.set(shivx.Level3, 45)
	s.host.status.Hooks = []shivx.HookState{{Name: "stop-reports", Level: shivx.Level1, On: true, Since: s.clock}}
	s.host.status.Modules = []resilience.Module{{Name: "redis", Critical: true, State: "failing", LastError: "no answer"}}
	var got resilience.Status
	decodeAnswer(t, s.do("GET", "/api/resilience/status", viewerToken, ""), &got)
	require.Equal(t, shivx.Level3, got.Level)
	require.InDelta(t, 45, got.Score.Value, 0)
	require.Len(t, got.DegradedFeatures, 6)
	require.Equal(t, "redis", got.Modules[0].Name)

	s.host.status.Score = nil
	require.Contains(t, s.do("GET", "/api/resilience/status", viewerToken, "").Body.String(), `"score":null`)
	s.host.status.Score = &resilience.Score{Value: math.NaN()}
	require.Equal(t, 500, s.do("GET", "/api/resilience/status", viewerToken, "").Code, "no half answer")
}

func TestOverride(t *testing.T) {
	s := newStand(t)
	rec := s.send("POST", "/api/resilience/override", `{"level":"level-2","for":"30m","why":"release"}`, func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+operatorToken)
		r.Header.Set("Idempotency-Key", "k1")
	})
	require.Equal(t, 200, rec.Code, rec.Body)
	var change shivx.LevelChange
	decodeAnswer(t, rec, &change)
	require.Equal(t, shivx.Level2, change.Override.Level)
	require.Equal(t, "anna", change.Override.By)
	require.Equal(t, []string{"api/anna/k1"}, s.host.keys)
	require.Equal(t, shivx.OverrideRequest{Level: shivx.Level2, For: shivx.Duration(30 * time.Minute), By: "anna", Why: "release"}, s.host.requests[0])

	require.Equal(t, 200, s.do("DELETE", "/api/resilience/override?why=done", operatorToken, "").Code)
	require.Equal(t, shivx.OverrideRequest{By: "anna", Why: "done", End: true}, s.host.requests[1])
	require.Equal(t, 200, s.do("POST", "/api/resilience/override", operatorToken, `{"end":true,"by":"anna"}`).Code)
	require.NotEqual(t, s.host.keys[1], s.host.keys[2], "without a key each request is its own")
	require.Equal(t, 200, s.do("DELETE", "/api/resilience/override?by=ben", s.admin, "").Code)
	require.Equal(t, "ben", s.host.requests[3].By)
}

func TestOverridesThatAreRefused(t *testing.T) {
	s := newStand(t)
	for body, code := range map[string]int{
		`{"level":"LEVEL_2","for":"30m","why":"x","by":"ben"}`:                         403,
		`{"level":"LEVEL_2","for":"30m","why":"x","not_after":"2020-01-01T00:00:00Z"}`: 409,
		`{"level":"LEVEL_2","for":"30m"}`:                                              400,
		`{"level":"level_2","for":"30m"}`:                                              400,
		`{"level":"LEVEL_9","for":"30m","why":"x"}`:                                    400,
		`{"level":"LEVEL_2","why":"x"}`:                                                400,
		`{"level":"LEVEL_2","for":"169h","why":"x"}`:                                   400,
		`{"level":"LEVEL_2","for":"-1s","why":"x"}`:                                    400,
		`{"level":"LEVEL_2","for":30,"why":"x"}`:                                       400,
		`{"end":true,"level":"LEVEL_2"}`:                                               400,
		`{"level":"LEVEL_2","for":"30m","why":"x","until":"y"}`:                        400,
		`{"level":"LEVEL_2","for":"30m","why":"x"} {}`:                                 400,
		`{"level":"LEVEL_2","for":"30m","why":"` + strings.Repeat("x", 1001) + `"}`:    400,
		`{"level":"LEVEL_2","for":"30m","why":"` + strings.Repeat("x", maxBody) + `"}`: 400,
		``:     400,
		`null`: 400,
	} {
		rec := s.do("POST", "/api/resilience/override", operatorToken, body)
		require.Equal(t, code, rec.Code, "%.80s: %s", body, rec.Body)
	}
	require.Empty(t, s.host.requests)
	long := s.send("DELETE", "/api/resilience/override", "", func(r *http.Request) {
		r.Header.Set("X-API-Key", operatorToken)
		r.Header.Set("Idempotency-Key", strings.Repeat("k", 129))
	})
	require.Equal(t, 400, long.Code)
}

func TestOverrideThatFails(t *testing.T) {
	s := newStand(t)
	s.host.err = shivx.Hint(errors.New("no override is in force"), "there is nothing to end")
	rec := s.do("DELETE", "/api/resilience/override", operatorToken, "")
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Contains(t, rec.Body.String(), "there is nothing to end")
	s.host.err = errors.New("the disk is gone")
	require.Equal(t, 503, s.do("POST", "/api/resilience/override", operatorToken, `{"level":"LEVEL_2","for":"30m","why":"x"}`).Code)
}

func TestReadiness(t *testing.T) {
	s := newStand(t)
	var got readyAnswer
	rec := s.do("GET", "/api/health/ready", appToken, "")
	decodeAnswer(t, rec, &got)
	require.Equal(t, 200, rec.Code)
	require.True(t, got.Ready)
	require.Len(t, got.Checks, 4)

	for name, spoil := range map[string]func(){
		"ledger":       func() { s.checks[0].OK = false },
		"first_sample": func() { s.host.status.Score = nil },
		"monitoring":   func() { s.host.status.MonitoringActive = false },
	} {
		before, checks := s.host.status, append([]Check{}, s.checks...)
		spoil()
		rec := s.do("GET", "/api/health/ready", appToken, "")
		require.Equal(t, 503, rec.Code, name)
		decodeAnswer(t, rec, &got)
		require.False(t, got.Ready)
		for _, c := range got.Checks {
			require.Equal(t, c.Name != name && c.Name != "temporal", c.OK, c.Name)
		}
		s.host.status, s.checks = before, checks
	}
}

func TestModules(t *testing.T) {
	s := newStand(t)
	require.Equal(t, 404, s.do("PUT", "/api/modules/shop/heartbeat", appToken, "").Code)
	require.Equal(t, 204, s.do("POST", "/api/modules", appToken, `{"name":"shop","critical":true,"lease":"30s"}`).Code)
	require.Equal(t, 204, s.do("PUT", "/api/modules/shop/heartbeat", appToken, "").Code)
	state := func() resilience.Module {
		var all modulesAnswer
		decodeAnswer(t, s.do("GET", "/api/modules", viewerToken, ""), &all)
		require.Len(t, all.Modules, 1)
		return all.Modules[0]
	}
	require.Equal(t, "healthy", state().State)
	require.Equal(t, 204, s.do("PUT", "/api/modules/shop/heartbeat", appToken, `{"status":"failing","message":"the queue is full"}`).Code)
	require.Equal(t, "the queue is full", state().LastError)
	require.Equal(t, 204, s.do("PUT", "/api/modules/shop/heartbeat", appToken, `{"status":"failing"}`).Code)
	require.NotEmpty(t, state().LastError)
	require.Equal(t, 204, s.do("PUT", "/api/modules/shop/heartbeat", appToken, `{"status":"ok"}`).Code)
	require.Equal(t, "healthy", state().State)
	for _, body := range []string{`{"status":"fine"}`, `{}`, `x`, `{"status":"ok","x":1}`, `{"status":"ok"}{}`} {
		require.Equal(t, 400, s.do("PUT", "/api/modules/shop/heartbeat", appToken, body).Code, body)
	}
	require.Equal(t, 204, s.do("DELETE", "/api/modules/shop", operatorToken, "").Code)
	require.Equal(t, 404, s.do("DELETE", "/api/modules/shop", operatorToken, "").Code)
	require.JSONEq(t, `{"modules":[]}`, s.do("GET", "/api/modules", viewerToken, "").Body.String())
}

func TestRegistrationsThatAreRefused(t *testing.T) {
	s := newStand(t)
	for _, body := range []string{``, `{}`, `{"name":"A b"}`, `{"name":"a","lease":30}`, `{"name":"a","lease":"99h"}`, `{"name":"a","restart":"rm"}`, `[]`} {
		require.Equal(t, 400, s.do("POST", "/api/modules", operatorToken, body).Code, body)
	}
	for err, code := range map[error]int{modules.ErrFull: 409, modules.ErrConfigured: 409, modules.ErrInvalid: 400, errors.New("disk full"): 503} {
		s.modules.err = shivx.Hint(err, "the hint")
		rec := s.do("POST", "/api/modules", appToken, `{"name":"a"}`)
		require.Equal(t, code, rec.Code)
		require.Contains(t, rec.Body.String(), "the hint")
	}
}
