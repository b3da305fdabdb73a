package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/resilience"
)

// fuzz sends bodies to a route; no input may be answered with an error of the server.
func fuzz(f *testing.F, method, path, contentType string) {
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var, cfg.API.Listen = "h", f.TempDir(), "127.0.0.1:0"
	cfg.Components = []config.Component{{Name: "redis"}}
	cfg.API.Tokens = []config.Token{{Name: "anna", Role: "operator", Token: operatorToken}}
	s, err := New(cfg, Options{
		Monitor: fakeMonitor{}, Report: func(context.Context, shivx.Finding) error { return nil }, Resilience: newFakeHost(),
		Modules: &fakeModules{known: map[string]resilience.Module{"redis": {}}}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.bound.Load().Close() })
	handler := s.Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		req := httptest.NewRequest(method, path, bytes.NewReader(body))
		req.Host = s.Address()
		req.Header.Set("Authorization", "Bearer "+operatorToken)
		req.Header.Set("Content-Type", contentType)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		if rec.Code >= http.StatusInternalServerError {
			t.Errorf("%q: %d %s", body, rec.Code, rec.Body)
		}
	})
}

func FuzzAlerts(f *testing.F) {
	f.Add([]byte(firing))
	f.Add([]byte(`{"version":"4","alerts":[null,{"labels":null}]}`))
	fuzz(f, "POST", "/api/alerts", "application/json")
}

func FuzzOverride(f *testing.F) {
	f.Add([]byte(`{"level":"LEVEL_2","for":"30m","why":"x","by":"anna"}`))
	f.Add([]byte(`{"end":true}`))
	fuzz(f, "POST", "/api/resilience/override", "application/json")
}

func FuzzEvaluate(f *testing.F) {
	f.Add([]byte(`{"context":{"targetingKey":"u1","a":["\"",{"context":1}]}}`))
	f.Add([]byte(`{"context":"me"}`))
	fuzz(f, "POST", "/ofrep/v1/evaluate/flags/chat", "application/json")
}

func FuzzEvaluateAll(f *testing.F) {
	f.Add([]byte(`{"context":{}}`))
	fuzz(f, "POST", "/ofrep/v1/evaluate/flags", "application/json")
}

func FuzzRegister(f *testing.F) {
	f.Add([]byte(`{"name":"a","critical":true,"lease":"30s"}`))
	fuzz(f, "POST", "/api/modules", "application/json")
}

func FuzzHeartbeat(f *testing.F) {
	f.Add([]byte(`{"status":"failing","message":"x"}`))
	fuzz(f, "PUT", "/api/modules/redis/heartbeat", "application/json")
}

func FuzzLogin(f *testing.F) {
	f.Add([]byte(url.Values{"code": {"x"}}.Encode()))
	fuzz(f, "POST", "/login", "application/x-www-form-urlencoded")
}
