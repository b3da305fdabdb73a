// Package record_test makes real runs on a real server and keeps their histories, which the
// tests of package workflows replay: `make histories` writes workflows/testdata/histories anew.
//
// Record anew only when a history is missing or a workflow was changed on purpose. What the
// change broke must stay readable for runs that are open: see workflows/versions.go.
package record_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

var out = flag.String("out", "", "folder to write the histories to; without it nothing is recorded")

// patience is how long a run may take to get where it is wanted.
const patience = 30 * time.Second

// studio is one server and one agent with a component for each run to be recorded.
type studio struct {
	t      *testing.T
	dir    string
	fuse   string
	server *stand.Server
	agent  *stand.Agent
}

func TestRecord(t *testing.T) {
	if *out == "" {
		t.Skip("records only with -out; run make histories")
	}
	s := open(t)
	for _, r := range recordings() {
		if r.play == nil {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			s.t = t
			run := r.play(s)
			s.keep(r.name, run)
		})
	}
}

// recording is one run to be kept.
type recording struct {
	name string
	// ladder and more are the component's configuration.
	ladder string
	more   string
	// play makes the run and returns its id and run id; "" for the latest one.
	play func(*studio) run
}

type run struct{ id, runID string }

const config = `
version: 1
host: local
paths: {var: "{dir}/var"}
api: {listen: "off"}
components:
`

const component = `
  - name: {name}
    failures: 1
    checks:
      - command: {argv: [test, -e, "{files}/{name}"]}
        every: 100ms
    isolate: {use: script, with: {isolate: ["true"], reintegrate: ["true"], recover: ["true"]}}
    state: {paths: ["{files}/state"]}
    ladder: [{ladder}]
    validate: {window: 100ms, every: 50ms, settle: 300ms}
`

// The rungs of ladders.
const (
	helps   = `{name: restart, use: script, with: {recover: [touch, "{files}/{name}"], undo: ["true"], done: [echo, "yes"]}}`
	useless = `{name: reload, use: script, with: {recover: ["true"], undo: ["true"]}}`
	fails   = `{name: reload, use: script, with: {recover: ["false"]}}`
	asks    = `{name: restart, use: script, with: {recover: [touch, "{files}/{name}"]}, approval: {required: 1, of: [ana, ben]}}`
	quiet   = "    limits: {heals: 100, cooldown: 0s, max_cooldown: 0s}\n"
)

// open starts server and agent; every component is up.
func open(t *testing.T) *studio {
	t.Helper()
	s := &studio{t: t, dir: t.TempDir()}
	s.fuse = filepath.Join(s.dir, "fuse")
	t.Setenv("SHIVX_CRASHPOINT", "recover:after")
	t.Setenv("SHIVX_CRASHPOINT_PIDS", s.fuse)
	require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "state"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "state", "data"), []byte("precious"), 0o600))
	yaml := config
	for _, r := range recordings() {
		if r.ladder == "" {
			continue
		}
		more := r.more
		if more == "" {
			more = quiet
		}
		part := strings.ReplaceAll(component, "{ladder}", r.ladder) + more
		yaml += strings.NewReplacer("{name}", r.name, "{files}", s.dir).Replace(part)
		s.mend(r.name)
	}
	s.server = stand.NewServer(t)
	s.agent = stand.NewAgent(t, s.server, "shivx-worker-crash", yaml)
	for _, r := range recordings() {
		if r.ladder != "" {
			s.awaitEntity(r.name, func(workflows.ComponentState) bool { return true })
		}
	}
	return s
}

// breakDown and mend make the fault of a component and take it away.
func (s *studio) breakDown(name string) {
	s.t.Helper()
	require.NoError(s.t, os.Remove(filepath.Join(s.dir, name)))
}

func (s *studio) mend(name string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), nil, 0o600))
}

func target(name string) shivx.Target { return shivx.Target{Component: name, Host: "local"} }

// latest is the latest heal of a component, once it has ended.
func (s *studio) latest(name string) run {
	s.t.Helper()
	s.agent.AwaitRecovery(name, 1, patience)
	s.awaitFree(name)
	return run{id: shivx.SelfHealID(target(name))}
}

// awaitFree waits until nothing holds the component, and returns its entity's state.
func (s *studio) awaitFree(name string) workflows.ComponentState {
	s.t.Helper()
	return s.awaitEntity(name, func(c workflows.ComponentState) bool { return c.Holder == nil && c.Pending == nil && c.Last != nil })
}

func (s *studio) awaitEntity(name string, ok func(workflows.ComponentState) bool) workflows.ComponentState {
	s.t.Helper()
	var state workflows.ComponentState
	stand.Await(s.t, patience, "the entity of "+name, func(ctx context.Context) bool {
		state = workflows.ComponentState{}
		return s.query(ctx, shivx.ComponentID(target(name)), &state) && ok(state)
	})
	return state
}

// awaitRun waits until the heal of a component is where it is wanted.
func (s *studio) awaitRun(id string, ok func(workflows.SelfHealStatus) bool) {
	s.t.Helper()
	stand.Await(s.t, patience, "the run "+id, func(ctx context.Context) bool {
		var status workflows.SelfHealStatus
		return s.query(ctx, id, &status) && ok(status)
	})
}

func (s *studio) query(ctx context.Context, id string, into any) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	v, err := s.server.Client().QueryWorkflow(ctx, id, "", shivx.QueryStatus)
	return err == nil && v.Get(into) == nil
}

func (s *studio) update(id, name string, arg any) {
	s.t.Helper()
	h, err := s.server.Client().UpdateWorkflow(s.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted})
	require.NoError(s.t, err)
	require.NoError(s.t, h.Get(s.t.Context(), nil))
}

func (s *studio) signal(id, name string, arg any) {
	s.t.Helper()
	require.NoError(s.t, s.server.Client().SignalWorkflow(s.t.Context(), id, "", name, arg))
}

// byHand starts a run as a person does in the Temporal UI and waits for its end, which may be a failure.
func (s *studio) byHand(id string, in map[string]any) run {
	s.t.Helper()
	h, err := s.server.Client().ExecuteWorkflow(s.t.Context(),
		client.StartWorkflowOptions{ID: id, TaskQueue: shivx.RunbookQueue}, shivx.TypeSelfHeal, in)
	require.NoError(s.t, err)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	_ = h.Get(ctx, nil) // a run that refuses or fails is wanted, too
	require.NoError(s.t, ctx.Err())
	return run{h.GetID(), h.GetRunID()}
}
