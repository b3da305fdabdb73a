package api

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/resilience"
)

// fuzzed returns what answers a request of an operator; no input may be answered with an error of the
// server.
func fuzzed(f *testing.F) func(testing.TB, *http.Request) *httptest.ResponseRecorder {
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var, cfg.API.Listen, cfg.Guardian = "h", f.TempDir(), "127.0.0.1:0", standRules(f)
	cfg.Components = []config.Component{{Name: "redis"}}
	cfg.API.Tokens = []config.Token{{Name: "anna", Role: "operator", Token: operatorToken}}
	s, err := New(cfg, Options{
		Monitor: fakeMonitor{}, Report: func(context.Context, shivx.Finding) error { return nil }, Resilience: newFakeHost(),
		Modules: &fakeModules{known: map[string]resilience.Module{"redis": {}}}, Guardian: newGuardian(f, cfg.Guardian, time.Now),
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.bound.Load().Close() })
	handler := s.Handler()
	return func(t testing.TB, req *http.Request) *httptest.ResponseRecorder {
		req.Host = s.Address()
		req.Header.Set("Authorization", "Bearer "+operatorToken)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		if rec.Code >= http.StatusInternalServerError {
			t.Errorf("%v: %d %s", req, rec.Code, rec.Body)
		}
		return rec
	}
}

// fuzz sends bodies to a route.
func fuzz(f *testing.F, method, path, contentType string) {
	ask := fuzzed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		req := httptest.NewRequest(method, path, bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		ask(t, req)
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

func FuzzIsolate(f *testing.F) {
	f.Add([]byte(`{"source":"203.0.113.0/24","for":"1h","why":"x"}`))
	f.Add([]byte(`{"source":"::ffff:203.0.113.7%eth0","indefinite":true}`))
	fuzz(f, "POST", "/api/guardian/isolations", "application/json")
}

func FuzzExtend(f *testing.F) {
	f.Add([]byte(`{"for":"1h"}`))
	fuzz(f, "PUT", "/api/guardian/isolations/203.0.113.7", "application/json")
}

func FuzzDefenseMode(f *testing.F) {
	f.Add([]byte(`{"mode":"elevated","why":"x","confirm_within":"10m"}`))
	fuzz(f, "PUT", "/api/guardian/mode", "application/json")
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(`{"source":"203.0.113.7","kind":"failure","count":3,"user":"root"}`))
	f.Add([]byte(`[{"source":"2001:db8::1","kind":"request","method":"GET","path":"/.env","status":404,"agent":"sqlmap","at":"2026-11-23T08:00:00Z"}]`))
	fuzz(f, "POST", "/api/guardian/events", "application/json")
}

// FuzzSources: whatever stands in the path is told of, let go, or no source.
func FuzzSources(f *testing.F) {
	for _, source := range []string{"203.0.113.7", "203.0.113.0/24", "2001:db8::1", "process:1(/usr/bin/x)", "..", "", "a//b", "1.2.3.4/-1"} {
		f.Add(source)
	}
	ask := fuzzed(f)
	f.Fuzz(func(t *testing.T, source string) {
		_, bad := shivx.ParseSource(source)
		for _, method := range []string{"GET", "DELETE"} {
			rec := ask(t, httptest.NewRequest(method, "/api/guardian/isolations/"+url.PathEscape(source), nil))
			if rec.Code == http.StatusOK && bad != nil {
				t.Errorf("%s %q: %s", method, source, rec.Body)
			}
		}
	})
}

// FuzzBouncer: whatever a bouncer asks for, the answer is one that it can read.
func FuzzBouncer(f *testing.F) {
	f.Add("startup=true&scopes=ip,range")
	f.Add("ip=203.0.113.7&contains=false")
	f.Add("scope=ip&value=x&type=ban&origins=shivx&scenarios_not_containing=a,b")
	ask := fuzzed(f)
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"/v1/decisions", "/v1/decisions/stream"} {
			req := httptest.NewRequest("GET", path, nil)
			req.URL.RawQuery = query
			rec := ask(t, req)
			if !json.Valid(rec.Body.Bytes()) || rec.Code >= 400 && !strings.Contains(rec.Body.String(), `"message"`) {
				t.Errorf("%q: %d %s", query, rec.Code, rec.Body)
			}
		}
	})
}

// FuzzForwardAuth: what a client writes into the header does not let it in when its proxy says who it is.
func FuzzForwardAuth(f *testing.F) {
	f.Add("198.51.100.7", "/shop//../x")
	f.Add("127.0.0.1, [::1]:80", "")
	ask := fuzzed(f)
	ask(f, httptest.NewRequest("POST", "/api/guardian/isolations", strings.NewReader(`{"source":"203.0.113.7","indefinite":true}`)))
	f.Fuzz(func(t *testing.T, forged, path string) {
		for _, source := range []string{"203.0.113.7", "203.0.113.8"} {
			req := httptest.NewRequest("GET", checkPath, nil)
			req.URL.Path = checkPath + "/" + path
			req.RemoteAddr = proxyPeer
			req.Header["X-Forwarded-For"] = []string{forged + ", " + source}
			rec := ask(t, req)
			if isolated := source == "203.0.113.7"; isolated != (rec.Code == http.StatusForbidden) {
				t.Errorf("%q for %s: %d", forged, source, rec.Code)
			}
		}
	})
}
