package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// patience is how long a heal may take on a busy machine; a scenario waits no longer than it must.
const patience = 60 * time.Second

// quick makes a component heal in test time.
const quick = `
    validate: {window: 300ms, every: 100ms, settle: 10s}
    limits: {cooldown: 100ms}
`

// anyChange lets a recovery change every file of the state.
const anyChange = `rules: [{match: "/**", allow: [added, removed, changed, shrunk]}]`

const preamble = `version: 1
host: <host>
paths: {var: "{dir}/var"}
temporal: {task_queue: <queue>}
api:
  listen: <api>
  tokens:
    - {name: app, role: app, modules: [shop, work*], token: token-of-the-app}
    - {name: viewer, role: viewer, token: token-of-the-viewer}
    - {name: operator, role: operator, token: token-of-the-operator}
defaults: {every: 150ms, timeout: 2s}
`

// fill replaces <key> by the JSON form of its value, which is YAML, too.
func fill(text string, pairs ...any) string {
	for i := 0; i < len(pairs); i += 2 {
		value, err := json.Marshal(pairs[i+1])
		if err != nil {
			panic(err)
		}
		text = strings.ReplaceAll(text, "<"+pairs[i].(string)+">", string(value))
	}
	return text
}

// scene is one agent in its environment.
type scene struct {
	*stand.Agent
	t      *testing.T
	server *stand.Server
	host   string
	queue  string
	api    string
}

// agentOf starts an agent of the host with the components, which may be followed by further
// top-level keys.
func agentOf(t *testing.T, server *stand.Server, host, queue, components string) *scene {
	t.Helper()
	s := &scene{t: t, server: server, host: host, queue: queue, api: fmt.Sprintf("127.0.0.1:%d", stand.FreePort(t))}
	text := fill(preamble, "host", host, "queue", queue, "api", s.api) + "components:" + components
	s.Agent = stand.NewAgent(t, server, "shivx-worker", text)
	return s
}

// play starts an agent and waits until all its components are healthy and known to Temporal.
func play(t *testing.T, server *stand.Server, host, components string) *scene {
	t.Helper()
	s := agentOf(t, server, host, "e2e-"+host, components)
	s.awaitHealthy()
	for _, c := range s.status() {
		s.awaitConfigured(c.Component)
	}
	return s
}

func (s *scene) target(component string) shivx.Target {
	return shivx.Target{Component: component, Host: s.host}
}

// request asks the agent's HTTP interface; a nil error means that it answered.
func (s *scene) request(method, path, token, body string) (*http.Response, error) {
	req, err := http.NewRequest(method, "http://"+s.api+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "application/json")
	return (&http.Client{Timeout: 5 * time.Second}).Do(req)
}

func (s *scene) token() string {
	b, _ := os.ReadFile(filepath.Join(s.Var, "api.token"))
	return strings.TrimSpace(string(b))
}

// status is what the agent says of its components; nil while it does not answer.
func (s *scene) status() []health.ComponentStatus {
	resp, err := s.request(http.MethodGet, "/api/components", s.token(), "")
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	var out []health.ComponentStatus
	if json.NewDecoder(resp.Body).Decode(&out) != nil {
		return nil
	}
	return out
}

func (s *scene) awaitHealthy() {
	s.t.Helper()
	stand.Await(s.t, patience, "every component to be healthy", func(context.Context) bool {
		all := s.status()
		for _, c := range all {
			if c.State != health.StateHealthy {
				return false
			}
		}
		return len(all) > 0
	})
}

func (s *scene) awaitConfigured(component string) {
	s.t.Helper()
	stand.Await(s.t, patience, "the entity of "+component, func(ctx context.Context) bool {
		e, err := s.queryEntity(ctx, component)
		return err == nil && e.Policy.Limits != shivx.DefaultLimits()
	})
}

func (s *scene) queryEntity(ctx context.Context, component string) (out workflows.ComponentState, err error) {
	v, err := s.server.Client().QueryWorkflow(ctx, shivx.ComponentID(s.target(component)), "", shivx.QueryStatus)
	if err != nil {
		return out, err
	}
	return out, v.Get(&out)
}

// awaitRun waits until the run under the id says of itself what is wanted.
func (s *scene) awaitRun(id, what string, ok func(workflows.SelfHealStatus) bool) workflows.SelfHealStatus {
	s.t.Helper()
	var out workflows.SelfHealStatus
	stand.Await(s.t, patience, what, func(ctx context.Context) bool {
		v, err := s.server.Client().QueryWorkflow(ctx, id, "", shivx.QueryStatus)
		return err == nil && v.Get(&out) == nil && ok(out)
	})
	return out
}

// update sends an update and waits for its result.
func (s *scene) update(id, name string, arg, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h, err := s.server.Client().UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return err
	}
	return h.Get(ctx, result)
}

// start starts a run the way a person does in the Temporal UI.
func (s *scene) start(id string, input map[string]any) client.WorkflowRun {
	s.t.Helper()
	run, err := s.server.Client().ExecuteWorkflow(context.Background(),
		client.StartWorkflowOptions{ID: id, TaskQueue: s.queue}, shivx.TypeSelfHeal, input)
	require.NoError(s.t, err)
	return run
}

// result waits for the end of a run.
func (s *scene) result(run client.WorkflowRun) (workflows.SelfHealResult, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out workflows.SelfHealResult
	err := run.Get(ctx, &out)
	require.NoError(s.t, ctx.Err(), "the run did not end")
	return out, err
}

// runs returns the ends of the component's runs, in the order of the ledger.
func (s *scene) runs(component string) []shivx.RecoveryRecord {
	s.t.Helper()
	return s.events(shivx.EventRecovery, component)
}

func (s *scene) events(event, component string) (out []shivx.RecoveryRecord) {
	s.t.Helper()
	for _, r := range s.Records() {
		if r.EventType == event && r.Component == component {
			out = append(out, r)
		}
	}
	return out
}

// place returns where in the ledger the first record stands that matches, -1 if none does.
func (s *scene) place(match func(shivx.RecoveryRecord) bool) int {
	s.t.Helper()
	for i, r := range s.Records() {
		if match(r) {
			return i
		}
	}
	return -1
}

// awaitQuiet waits until Temporal was told every finding and nothing of the component is under
// way or pending, and returns what its entity then knows.
func (s *scene) awaitQuiet(component string) (state workflows.ComponentState) {
	s.t.Helper()
	stand.Await(s.t, patience, component+" to be quiet", func(ctx context.Context) bool {
		var last uint64
		err := ledger.Read(s.Ledger(), 1, func(r ledger.Record) error {
			var rec shivx.RecoveryRecord
			if err := r.Decode(&rec); err != nil {
				return err
			}
			if rec.EventType == shivx.EventFault || rec.EventType == shivx.EventResolved {
				last = r.Seq
			}
			return nil
		})
		b, _ := os.ReadFile(filepath.Join(s.Var, "recovery", "dispatched"))
		told, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		if err != nil || (last > 0 && told <= last) {
			return false
		}
		state, err = s.queryEntity(ctx, component)
		return err == nil && state.Holder == nil && (len(state.Pending) == 0 || state.OverBudget)
	})
	return state
}

// healed waits for the end of the component's n-th run and checks what every heal must show.
func (s *scene) healed(component string, n int, since time.Time, strategy string, kind shivx.RecoveryType) shivx.RecoveryRecord {
	s.t.Helper()
	r := s.AwaitRecovery(component, n, patience)
	require.Equal(s.t, shivx.OutcomeHealed, r.Outcome, r.Message)
	require.Equal(s.t, strategy, r.Strategy)
	require.Equal(s.t, kind, r.RecoveryType)
	require.True(s.t, r.Success != nil && *r.Success)
	require.Positive(s.t, r.DurationMS)
	require.Equal(s.t, s.host, r.Host)
	s.t.Logf("%s: fault → recovery record %s, of which the run took %dms", component,
		r.Timestamp.Sub(since).Round(time.Millisecond), r.DurationMS)
	s.awaitHealthy()
	s.VerifyLedger()
	return r
}
