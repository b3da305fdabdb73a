package main

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities/component"
	"github.com/shivx/shivx/internal/testenv"
)

func decode[T any](t *testing.T, r result) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatalf("no JSON: %v\n%s%s", err, r.out, r.err)
	}
	return v
}

func TestHealBringsAComponentBack(t *testing.T) {
	w := needServer(t)
	if err := os.Remove(w.file("web", "up")); err != nil {
		t.Fatal(err)
	}
	r := want(t, exitOK, []string{
		"✔ recover by restart: done", "brought it up", "✔ reintegrate: done", "web@here: healed in ",
	}, "heal", "web", "--wait", "--reason", "it is away")
	if strings.Index(r.out, "isolate") > strings.Index(r.out, "reintegrate") {
		t.Errorf("the steps are out of order:\n%s", r.out)
	}
	if _, err := os.Stat(w.file("web", "up")); err != nil {
		t.Errorf("it is not up: %v", err)
	}
	if _, err := os.Stat(w.file("web", "isolated")); err == nil {
		t.Error("it is still isolated")
	}

	got := decode[runResult](t, want(t, exitOK, nil, "heal", "web@here", "--wait", "--output", "json", "--window", "0s"))
	if got.Outcome != "healed" || got.Strategy != "restart" || got.RunID == "" || len(got.Steps) != 6 {
		t.Errorf("result: %+v", got)
	}

	awaitOut(t, "asked for by ana: it is away", "runs", "--component", "web", "--outcome", "healed", "--since", "1h", "--host", "here")
	runs := decode[[]runView](t, want(t, exitOK, nil, "runs", "--component", "web", "--output", "json"))
	if len(runs) < 2 || runs[0].RunID != got.RunID || runs[0].Outcome != "healed" || runs[0].Reason != "asked for by ana" {
		t.Errorf("runs: %+v", runs)
	}
	if one := decode[[]runView](t, want(t, exitOK, nil, "runs", "--limit", "1", "--output", "json")); len(one) != 1 {
		t.Errorf("--limit 1 gives %d runs", len(one))
	}
	for _, id := range [][]string{{got.RunID}, {got.RunID[len(got.RunID)-8:]}, {got.WorkflowID}, {got.WorkflowID, got.RunID}, {"web"}, {"web@here"}} {
		want(t, exitOK, []string{"web@here: healed", got.RunID, "· touched up", "restart"}, append([]string{"runs", "show"}, id...)...)
	}
	story := decode[runStory](t, want(t, exitOK, nil, "runs", "show", got.RunID, "--output", "json"))
	if story.Outcome != "healed" || len(story.Steps) != 6 || story.Took == "" {
		t.Errorf("story: %+v", story)
	}
	want(t, exitError, []string{"there is no run 00000000"}, "runs", "show", "00000000")
	want(t, exitUsage, []string{"--outcome well is not known"}, "runs", "--outcome", "well")
}

func TestHealWithoutWaiting(t *testing.T) {
	needServer(t)
	want(t, exitOK, []string{"started self-heal/web@here "}, "heal", "web")
	awaitOut(t, "web@here: free", "status", "web")
}

func TestHealThatFails(t *testing.T) {
	needServer(t)
	want(t, exitNotHealed, []string{
		"✘ recover by first: failed", "it cannot be repaired", "✘ recover by second: failed",
		"broken@here: failed in ", "it is out of traffic; when the cause is gone: shivx component verify broken@here",
	}, "heal", "broken", "--wait")
	want(t, exitNotHealed, []string{`"outcome": "failed"`, `"isolated": true`}, "heal", "broken", "--wait", "-o", "json")
	want(t, exitOK, []string{"isolated", "failed", "s ago"}, "status")
	want(t, exitOK, []string{"broken@here: isolated", "traffic", "people were told"}, "status", "broken")
	want(t, exitRefused, []string{`has no strategy "third"`}, "heal", "broken", "--wait", "--strategy", "third")

	// Repaired by hand: verified, and back in traffic.
	want(t, exitOK, []string{"broken@here: already-healthy", "verified"}, "component", "verify", "broken", "--wait")
	want(t, exitOK, []string{"broken@here: cooldown"}, "status", "broken")
}

func TestPlanChangesNothing(t *testing.T) {
	w := needServer(t)
	if err := os.Remove(w.file("web", "up")); err != nil {
		t.Fatal(err)
	}
	want(t, exitOK, []string{"STEP", "recover", "would run " + w.file("web", "recover"), "web@here: planned"}, "heal", "web", "--plan")
	got := decode[runResult](t, want(t, exitOK, nil, "heal", "web", "--plan", "--output", "json"))
	if got.Outcome != "planned" || !strings.HasPrefix(got.WorkflowID, "self-heal/plan/web@here/") {
		t.Errorf("plan: %+v", got)
	}
	if _, err := os.Stat(w.file("web", "up")); err == nil {
		t.Error("the plan brought it up")
	}
	want(t, exitOK, nil, "heal", "web", "--wait")
}

func TestOnlyOneRunAtATime(t *testing.T) {
	w := needServer(t)
	want(t, exitOK, nil, "heal", "slow", "--no-wait")
	awaitOut(t, "recover", "runs", "show", "slow")
	want(t, exitRefused, []string{"slow@here is held since", "self-heal/slow@here"}, "heal", "slow", "--wait")
	want(t, exitOK, []string{"slow@here: held", "held by"}, "component", "show", "slow")
	awaitOut(t, "running", "runs", "--component", "slow")

	// Paused while it recovers, it does not go on to validate.
	want(t, exitOK, []string{"self-heal/slow@here: paused by bob"}, "pause", "slow", "--by", "bob")
	if err := os.WriteFile(w.file("slow", "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	awaitOut(t, "paused by bob", "runs", "show", "slow")
	want(t, exitOK, []string{`"paused_by": "bob"`}, "pause", "slow", "--by", "bob", "--output", "json")
	want(t, exitOK, []string{"resumed by ana"}, "resume", "self-heal/slow@here")
	awaitOut(t, "slow@here: free", "status", "slow")
	want(t, exitError, []string{"no run of slow@here is under way"}, "resume", "slow")
}

func TestAbort(t *testing.T) {
	needServer(t)
	want(t, exitOK, nil, "heal", "slow", "--no-wait")
	awaitOut(t, "▶", "runs", "show", "slow")
	want(t, exitOK, []string{"self-heal/slow@here is being stopped"}, "abort", "slow", "--reason", "wrong host")
	awaitOut(t, "slow@here: aborted — stopped by ana: wrong host", "runs", "show", "slow")
	awaitOut(t, "slow@here: free", "status", "slow")
	want(t, exitError, []string{" — shivx runs lists"}, "abort", "self-heal/slow@here")
}

func TestApproval(t *testing.T) {
	needServer(t)
	code, out := background("heal", "gated", "--wait")
	out.await(t, "answer with: shivx approve gated@here")
	want(t, exitOK, []string{"careful waits for 1 approval"}, "runs", "show", "gated")
	want(t, exitRefused, []string{"eve is not among those who may approve"}, "approve", "gated", "--by", "eve")
	want(t, exitOK, []string{"approved by ana"}, "approve", "gated", "--note", "go on")
	if c := <-code; c != exitOK {
		t.Errorf("exit code %d after the approval: %s", c, out)
	}

	code, out = background("heal", "gated", "--wait")
	out.await(t, "answer with: shivx approve gated@here")
	want(t, exitOK, []string{"refused by bob"}, "approve", "gated", "--deny", "--by", "bob", "--note", "not now")
	if c := <-code; c != exitNotHealed || !strings.Contains(out.String(), "refused by bob not now") {
		t.Errorf("exit code %d after the refusal: %s", c, out)
	}
	want(t, exitError, []string{"no run of gated@here is under way"}, "approve", "gated")
}

// background starts a command and returns what it prints.
func background(args ...string) (<-chan int, *lines) {
	out, code := newLines(), make(chan int, 1)
	go func() { code <- run(args, strings.NewReader(""), out, out) }()
	return code, out
}

func TestMaintenance(t *testing.T) {
	needServer(t)
	want(t, exitOK, []string{"web@here: in maintenance by ana until "}, "component", "maintenance", "web", "on", "--for", "2h", "--reason", "disk swap")
	want(t, exitOK, []string{"web@here: maintenance", "disk swap"}, "status", "web")
	want(t, exitRefused, []string{"in maintenance by ana", "disk swap"}, "heal", "web", "--wait")
	want(t, exitOK, []string{"web@here: healed"}, "heal", "web", "--wait", "--force")
	want(t, exitOK, []string{"maintenance ended by ana"}, "component", "maintenance", "web", "off")
	want(t, exitOK, []string{"web@here: free"}, "status", "web")
	want(t, exitUsage, []string{"write on or off"}, "component", "maintenance", "web", "perhaps")
}

func TestComponents(t *testing.T) {
	needServer(t)
	want(t, exitOK, []string{"COMPONENT", "web", "broken", "slow", "gated", "here", "on demand"}, "component", "list")
	views := decode[[]componentView](t, want(t, exitOK, nil, "status", "--output", "json"))
	if len(views) != 4 || views[3].Component != "web" || views[3].Status == nil || !views[3].Status.Policy.Critical {
		t.Errorf("components: %+v", views)
	}
	want(t, exitOK, []string{"web@here: ", " in checkpoint "}, "component", "checkpoint", "web")
	want(t, exitError, []string{"no host has a component wep", "did you mean web?"}, "status", "wep")
	want(t, exitError, []string{"no host has a component web@there", "did you mean web@here?"}, "heal", "web@there")
	want(t, exitUsage, []string{`is not the name of a component`}, "status", "x' OR '1'='1")
	want(t, exitOK, []string{"web\ton here", "slow\ton here", ":4"}, "__complete", "heal", "")
}

func TestSchedules(t *testing.T) {
	needServer(t)
	const input = `{"component":"web","plan":true}`
	want(t, exitOK, []string{"rehearse: SelfHeal of web@here, 0 4 * * * Europe/Berlin"},
		"schedules", "create", "rehearse", "--runbook", "SelfHeal", "--input", input, "--cron", "0 4 * * *", "--timezone", "Europe/Berlin")
	want(t, exitRefused, []string{"there is a schedule rehearse already"}, "schedules", "create", "rehearse", "--input", input, "--every", "4h")
	want(t, exitUsage, []string{"create the schedule bad"}, "schedules", "create", "bad", "--input", input, "--cron", "61 * * * *")
	want(t, exitError, []string{"no host has a component nobody"}, "schedules", "create", "bad", "--input", `{"component":"nobody"}`, "--every", "4h")
	awaitOut(t, "rehearse", "schedules", "list")
	awaitOut(t, "0 4 * * * Europe/Berlin", "schedules", "list")

	h := shared.client.ScheduleClient().GetHandle(t.Context(), "rehearse")
	d, err := h.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p := d.Schedule.Policy; p.CatchupWindow != 5*time.Minute || p.Overlap.String() != "Skip" || d.Schedule.Spec.Jitter != 30*time.Second {
		t.Errorf("catch-up %s, overlap %s, jitter %s", p.CatchupWindow, p.Overlap, d.Schedule.Spec.Jitter)
	}

	want(t, exitOK, []string{"rehearse: paused"}, "schedules", "pause", "rehearse", "--note", "holidays")
	awaitOut(t, "by ana: holidays", "schedules", "list")
	want(t, exitOK, []string{"rehearse: resumed"}, "schedules", "resume", "rehearse")
	want(t, exitOK, []string{"rehearse: triggered"}, "schedules", "trigger", "rehearse")
	awaitOut(t, "planned", "runs", "--outcome", "planned", "--component", "web")
	awaitOut(t, "schedule rehearse", "runs")
	want(t, exitOK, []string{"rehearse: deleted"}, "schedules", "delete", "rehearse")
	want(t, exitError, []string{"shivx schedules list shows all"}, "schedules", "delete", "rehearse")
}

func TestLedgerIsComparedWithTheWitness(t *testing.T) {
	w := needServer(t)
	want(t, exitOK, nil, "heal", "web", "--wait")
	varDir := w.file("var")
	r := awaitOut(t, "compared with ", "ledger", "verify", "--var", varDir)
	if r.code != exitOK || !strings.Contains(r.out, " of here") {
		t.Errorf("verified: %+v", r)
	}
	awaitOut(t, "compared with ", "ledger", "verify", "--ledger", "resilience", "--var", varDir)
	want(t, exitOK, []string{"recovery", "restart", "healed"}, "ledger", "show", "--var", varDir, "--component", "web")
	want(t, exitOK, []string{"NOT COMPARED", "ledger-witness/there"}, "ledger", "verify", "--var", varDir, "--host", "there")

	// An old copy put back, signed heads and key with it: only the witness knows.
	old := t.TempDir()
	if err := os.CopyFS(old+"/recovery", os.DirFS(varDir+"/recovery")); err != nil {
		t.Fatal(err)
	}
	before := decode[verifyReport](t, want(t, exitOK, nil, "ledger", "verify", "--ledger", "recovery", "--var", varDir, "-o", "json"))
	want(t, exitOK, nil, "heal", "web", "--wait")
	late := time.Now().Add(30 * time.Second)
	for {
		now := decode[verifyReport](t, shivxRun("ledger", "verify", "--ledger", "recovery", "--var", varDir, "-o", "json"))
		if now.Witness.Heads > before.Witness.Heads {
			break
		}
		if time.Now().After(late) {
			t.Fatal("the witness gets no new head")
		}
		time.Sleep(100 * time.Millisecond)
	}
	want(t, exitOK, []string{"NOT COMPARED: --no-witness"}, "ledger", "verify", "--var", old, "--no-witness")
	want(t, exitTampered, []string{"TAMPERED WITH", "rolled-back"}, "ledger", "verify", "--var", old)
}

func TestNoAgentAnswers(t *testing.T) {
	w := needServer(t)
	ghost := shivx.Target{Component: "ghost", Host: "there"}
	entity, err := w.client.ExecuteWorkflow(t.Context(), component.EntityOptions("nobody-polls-this", ghost), shivx.TypeComponent, ghost)
	if err != nil {
		t.Fatal(err)
	}
	awaitOut(t, "ghost", "__complete", "heal", "")
	const said = "no agent answered within 10s — is the agent up and connected to Temporal?"
	type call struct {
		args []string
		code <-chan int
		out  *lines
	}
	var calls []call
	for _, args := range [][]string{{"heal", "ghost"}, {"heal", "ghost", "--plan"}, {"status", "ghost"}, {"pause", "ghost"}} {
		code, out := background(args...)
		calls = append(calls, call{args, code, out})
	}
	for _, c := range calls {
		if code := <-c.code; code != exitNotHealed || !strings.Contains(c.out.String(), said) {
			t.Errorf("shivx %v: exit code %d, %s", c.args, code, c.out)
		}
	}
	want(t, exitOK, []string{"ghost", "unknown", "no agent answered", "web"}, "status")
	if err := w.client.TerminateWorkflow(t.Context(), entity.GetID(), entity.GetRunID(), "end of the test"); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(30 * time.Second); strings.Contains(shivxRun("__complete", "heal", "").out, "ghost"); {
		if time.Now().After(late) {
			t.Fatal("an entity that has ended is still listed")
		}
	}
}

func TestInterruptedWhileFollowing(t *testing.T) {
	w := needServer(t)
	code, out := background("heal", "slow", "--wait")
	out.await(t, "▶ recover")
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if c := <-code; c != exitError || !strings.Contains(out.String(), "the run goes on — stop it with: shivx abort slow@here") {
		t.Errorf("exit code %d: %s", c, out)
	}
	want(t, exitOK, []string{"slow@here: held"}, "status", "slow")
	testenv.WriteFile(t, w.file("slow", "go"), "")
	awaitOut(t, "slow@here: free", "status", "slow")
}
