package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/modules"
	"github.com/shivx/shivx/internal/resilience"
)

// fakeModules keeps modules in memory.
type fakeModules struct {
	known map[string]resilience.Module
	err   error
}

func (m *fakeModules) Register(_ context.Context, name string, critical bool, lease time.Duration) error {
	if m.err != nil {
		return m.err
	}
	if err := config.CheckName(name); err != nil || lease < 0 || lease > time.Hour {
		return shivx.Hint(modules.ErrInvalid, "choose another")
	}
	m.known[name] = resilience.Module{Name: name, Critical: critical, State: "healthy", Score: 100, Registered: true}
	return nil
}

func (m *fakeModules) Heartbeat(_ context.Context, name, failing string) error {
	one, ok := m.known[name]
	if !ok {
		return modules.ErrUnknown
	}
	if one.State, one.LastError = "healthy", failing; failing != "" {
		one.State = "failing"
	}
	m.known[name] = one
	return nil
}

func (m *fakeModules) Remove(_ context.Context, name string) error {
	if _, ok := m.known[name]; !ok {
		return modules.ErrUnknown
	}
	delete(m.known, name)
	return nil
}

func (m *fakeModules) List() (out []resilience.Module) {
	for _, one := range m.known {
		out = append(out, one)
	}
	return out
}

func fakeHistory() map[string]Ask {
	says := func(body string) Ask {
		return func(*http.Request) (any, int, error) { return json.RawMessage(body), http.StatusOK, nil }
	}
	return map[string]Ask{
		"GET /api/metrics/names": says(`{"names":["shivx_host_cpu_ratio"]}`),
		"GET /api/metrics/query": says(`{"from":"2026-01-01T00:00:00Z","to":"2026-01-01T01:00:00Z","step_seconds":60,
			"series":[{"name":"shivx_host_cpu_ratio","points":[[1800000000,0.1,0,0.2,0.1]]}]}`),
	}
}
