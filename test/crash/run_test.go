package crash_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// patience is how long a run may take to end after a crash.
const patience = time.Minute

// scene is one agent on one server, each started again when it dies.
type scene struct {
	t      *testing.T
	client client.Client
	agent  *stand.Agent
	// server is nil where the agent has the server in its own process.
	server *stand.Server
	target shivx.Target

	agentKeeper, serverKeeper *supervisor
	// fuse is the file that names whom the crash point kills; it is there until that has happened.
	fuse string
	// since is when the scene began.
	since time.Time
}

// house is a server that outlives the agents on it.
type house struct {
	server *stand.Server
	keeper *supervisor
}

func newHouse(t *testing.T) *house {
	t.Helper()
	s := stand.NewServer(t)
	return &house{server: s, keeper: supervise(t, s.Process)}
}

// agent starts an agent that may be killed at a crash point ("" for none).
func (h *house) agent(t *testing.T, component, host, point, yaml string) *scene {
	t.Helper()
	s := &scene{t: t, client: h.server.Client(), server: h.server, serverKeeper: h.keeper,
		target: shivx.Target{Component: component, Host: host}, since: time.Now()}
	h.server.Await()
	s.lay(point)
	s.agent = stand.NewAgent(t, h.server, "shivx-worker-crash", yaml)
	s.agentKeeper = supervise(t, s.agent.Process)
	return s
}

// lay sets the crash point for the programs started from now on. It is not live before arm.
func (s *scene) lay(point string) {
	s.fuse = filepath.Join(s.t.TempDir(), "fuse")
	s.t.Setenv("SHIVX_CRASHPOINT", point)
	s.t.Setenv("SHIVX_CRASHPOINT_PIDS", s.fuse)
}

// Who dies at a crash point.
const (
	worker = "worker"
	server = "server"
	both   = "both"
)

// arm makes the crash point live.
func (s *scene) arm(who string) {
	s.t.Helper()
	var pids []string
	if who != worker {
		pids = append(pids, strconv.Itoa(s.server.PID()))
	}
	if who != server {
		pids = append(pids, "self")
	}
	temp := s.fuse + ".new"
	require.NoError(s.t, os.WriteFile(temp, []byte(strings.Join(pids, " ")), 0o600))
	require.NoError(s.t, os.Rename(temp, s.fuse))
}

// awaitBlast waits until the crash point has been reached.
func (s *scene) awaitBlast() {
	s.t.Helper()
	stand.Await(s.t, patience, "the crash point to be reached", func(context.Context) bool {
		_, err := os.Stat(s.fuse)
		return os.IsNotExist(err)
	})
}

// awaitEnd waits until the latest run has ended and returns it.
func (s *scene) awaitEnd() *workflowservice.DescribeWorkflowExecutionResponse {
	s.t.Helper()
	var end *workflowservice.DescribeWorkflowExecutionResponse
	stand.Await(s.t, patience, "the run to end", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		d, err := s.client.DescribeWorkflowExecution(ctx, shivx.SelfHealID(s.target), "")
		if err != nil || d.WorkflowExecutionInfo.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return false
		}
		end = d
		return true
	})
	return end
}

// result returns what the latest run, which has ended, answered.
func (s *scene) result() workflows.SelfHealResult {
	s.t.Helper()
	var out workflows.SelfHealResult
	require.NoError(s.t, s.client.GetWorkflow(s.t.Context(), shivx.SelfHealID(s.target), "").Get(s.t.Context(), &out))
	return out
}

// entity waits until the component's entity is free and returns its state.
func (s *scene) entity() workflows.ComponentState {
	s.t.Helper()
	var state workflows.ComponentState
	stand.Await(s.t, patience, "the lock to be free", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		v, err := s.client.QueryWorkflow(ctx, shivx.ComponentID(s.target), "", shivx.QueryStatus)
		if err != nil {
			return false
		}
		state = workflows.ComponentState{}
		return v.Get(&state) == nil && state.Holder == nil && state.Pending == nil && state.Last != nil
	})
	return state
}

// count counts the ledger's records that match.
func count(records []shivx.RecoveryRecord, event string, step shivx.Step) int {
	n := 0
	for _, r := range records {
		if r.EventType == event && r.Step == step {
			n++
		}
	}
	return n
}

// awaitReady waits until the agent works: the component's entity answers.
func (s *scene) awaitReady() {
	s.t.Helper()
	stand.Await(s.t, patience, "the agent to be ready", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := s.client.QueryWorkflow(ctx, shivx.ComponentID(s.target), "", shivx.QueryStatus)
		return err == nil
	})
}
