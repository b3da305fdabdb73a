package e2e_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// approval: two of three people must agree; strangers do not count, nor does one person twice.
func approval(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	s := play(t, server, "approval", "\n  - name: shop"+d.checks()+"    ladder:"+d.restart()+
		"        approval: {required: 2, of: [ana, ben, cyd]}\n"+quick)
	before, killed := d.pid(), d.kill()
	id := shivx.SelfHealID(s.target("shop"))
	waits := func(r workflows.SelfHealStatus) bool { return r.Approval != nil }
	s.awaitRun(id, "the run to wait for approval", waits)

	approve := func(d workflows.Decision) (workflows.SelfHealStatus, error) {
		var out workflows.SelfHealStatus
		return out, s.update(id, shivx.UpdateApprove, d, &out)
	}
	_, err := approve(workflows.Decision{By: "mallory"})
	require.ErrorContains(t, err, "mallory is not among those who may approve")
	for range 2 {
		_, err = approve(workflows.Decision{By: "ana"})
		require.NoError(t, err)
	}
	status := s.awaitRun(id, "one decision", waits)
	require.Len(t, status.Decisions, 1, "one person counts once")
	require.False(t, d.alive())
	_, err = approve(workflows.Decision{By: "cyd", Note: "go ahead"})
	require.NoError(t, err)
	s.healed("shop", 1, killed, "restart", shivx.RecoverProcess)
	d.works(before)
}

// pause: a paused run holds before its next step and goes on when it is resumed.
func pause(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	s := play(t, server, "pause", "\n  - name: shop"+d.checks()+"    ladder:"+d.restart()+
		"        approval: {required: 1}\n"+quick)
	before, killed := d.pid(), d.kill()
	id := shivx.SelfHealID(s.target("shop"))
	s.awaitRun(id, "the run to wait for approval", func(r workflows.SelfHealStatus) bool { return r.Approval != nil })
	require.NoError(t, s.update(id, shivx.UpdatePause, workflows.By{By: "ben"}, nil))
	require.NoError(t, s.update(id, shivx.UpdateApprove, workflows.Decision{By: "ana"}, nil))
	s.awaitRun(id, "the run to hold", func(r workflows.SelfHealStatus) bool { return r.WaitsFor == "paused by ben" })
	require.Empty(t, s.events(shivx.EventStepStarted, "shop"), "a paused run began a step")
	require.False(t, d.alive())
	require.NoError(t, s.update(id, shivx.UpdateResume, workflows.By{By: "ben"}, nil))
	s.healed("shop", 1, killed, "restart", shivx.RecoverProcess)
	d.works(before)
}

// abort: a recovery that takes long is stopped within seconds, taken back, and the component is
// put back into traffic.
func abort(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	mark := func(name string) string { return filepath.Join(d.dir, name) }
	s := play(t, server, "abort", fill(`
  - name: shop
    isolate:
      use: script
      with: {isolate: [touch, <isolated>], reintegrate: [rm, <isolated>], recover: ["true"]}`,
		"isolated", mark("isolated"))+d.checks()+fill(`
    ladder:
      - name: repair
        use: script
        timeout: 1m
        with:
          recover: [sh, -c, <long>]
          undo: [touch, <undone>]
`, "long", "touch "+mark("begun")+"; sleep 30; touch "+mark("finished"), "undone", mark("undone"))+quick)
	run := s.start("long repair", map[string]any{"component": "shop", "host": "abort"})
	stand.Await(t, patience, "the repair to begin", exists(mark("begun")))
	require.FileExists(t, mark("isolated"))

	asked := time.Now()
	require.NoError(t, server.Client().SignalWorkflow(t.Context(), run.GetID(), "", shivx.SignalAbort,
		workflows.Abort{By: "ana", Reason: "wrong host"}))
	res, err := s.result(run)
	took := time.Since(asked)
	t.Logf("abort → end of the run %s", took.Round(time.Millisecond))
	require.NoError(t, err)
	require.Equal(t, shivx.OutcomeAborted, res.Outcome)
	require.Equal(t, "stopped by ana: wrong host", res.Message)
	require.Less(t, took, 10*time.Second)
	require.FileExists(t, mark("undone"))
	require.NoFileExists(t, mark("finished"))
	require.NoFileExists(t, mark("isolated"), "left out of traffic")
	require.Equal(t, shivx.OutcomeAborted, s.AwaitRecovery("shop", 1, patience).Outcome)
	require.True(t, d.answers())
	s.awaitQuiet("shop")
	s.VerifyLedger()
}

// plan: the runbook says for each rung what it would do, and changes nothing.
func plan(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	s := play(t, server, "plan", fill(`
  - name: shop
    state: {paths: [<visits>], `+anyChange+`}
    isolate:
      use: script
      with: {isolate: [touch, <isolated>], recover: ["true"]}`,
		"visits", filepath.Join(d.dir, "visits"), "isolated", filepath.Join(d.dir, "isolated"))+
		d.checks()+"    ladder:"+d.restart()+fill(`
      - name: restore
        use: data
        with: {start: <argv>, pid_file: <pid>}
`, "argv", d.argv(), "pid", d.pidFile())+quick)
	var cp activities.CheckpointResult
	require.NoError(t, s.update(shivx.ComponentID(s.target("shop")), shivx.UpdateCheckpoint, workflows.CheckpointRequest{By: "e2e"}, &cp))
	require.NotEmpty(t, cp.ID, cp.Summary)

	pid, service, kept := d.pid(), tree(t, d.dir), tree(t, s.Var)
	res, err := s.result(s.start("what would be", map[string]any{"component": "shop", "host": "plan", "plan": true}))
	require.NoError(t, err)
	require.Equal(t, shivx.OutcomePlanned, res.Outcome)
	require.Equal(t, pid, d.pid())
	require.True(t, d.alive())
	require.Equal(t, service, tree(t, d.dir), "the service's files")
	require.Equal(t, kept, tree(t, s.Var), "ledger, checkpoints and work folders")
	rungs := map[string]string{}
	for _, step := range res.Steps {
		if step.Step == shivx.StepRecover {
			rungs[step.Strategy] = step.State + " " + step.Summary
		}
	}
	require.Contains(t, rungs["restart"], "would: ")
	require.Contains(t, rungs["restore"], "would: ")
	require.Nil(t, s.awaitQuiet("shop").Last, "a plan takes no lock")
}

// tree lists the files below a folder with their hashes. The ledger's heads and key are left out:
// they change by the clock, too.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch ext := filepath.Ext(path); {
		case err != nil || ext == ".heads" || ext == ".key":
		case e.Type().IsRegular():
			out[path] = hashOf(t, path)
		default:
			out[path] = e.Type().String()
		}
		return err
	}))
	return out
}

func exists(path string) func(context.Context) bool {
	return func(context.Context) bool {
		_, err := os.Stat(path)
		return err == nil
	}
}
