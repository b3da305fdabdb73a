package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/workflows"
)

// TestGoldenRunsOfPeople: a restore that waits for approval is told of, cannot be begun twice, goes on without who
// has begun it, and is approved or called off; snapshots are taken and rolled back to.
func TestGoldenRunsOfPeople(t *testing.T) {
	w := needServer(t)
	const id = "golden/restore/site@here"
	want(t, exitOK, []string{"site@here: stored in"}, "golden", "backup", "site@here")
	var out bytes.Buffer
	errs := newLines()
	c := exec.Command(os.Args[0], "golden", "restore", "site@here", "-o", "json")
	c.Args[0] = "shivx" // as which the test binary is that program
	c.Stdout, c.Stderr = &out, errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	errs.await(t, `"waits_for"`)
	if said := errs.String(); !strings.Contains(said, `{"run":{"workflow_id":"`+id) || !strings.Contains(said, `"approval":{`) {
		t.Error(said)
	}
	want(t, exitRefused, []string{id + " is under way already, as the run ", "shivx runs show " + id, "shivx abort " + id}, "golden", "restore", "site@here", "--yes")
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if c.ProcessState.ExitCode() != exitError || !strings.Contains(out.String(), "the run goes on") || !strings.Contains(out.String(), "shivx abort "+id) {
		t.Errorf("exit code %d: %s%s", c.ProcessState.ExitCode(), out.String(), errs.String())
	}
	st := decode[workflows.GoldenStatus](t, want(t, exitOK, nil, "approve", id, "--deny", "-o", "json"))
	if st.Action != shivx.GoldenRestore || st.Extent == "" || len(st.Decisions) != 1 {
		t.Errorf("status: %+v", st)
	}
	awaitOut(t, "refused", "runs", "--set", "site", "--outcome", "refused")

	if err := os.WriteFile(w.file("web", "note"), []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, exitUsage, []string{"latest", "choose another"}, "golden", "snapshot", "site@here", "--name", "latest")
	want(t, exitOK, []string{"✓ take", "site@here: stored in"}, "golden", "snapshot", "site@here", "--name", "risky")
	if err := os.WriteFile(w.file("web", "note"), []byte("after"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, exitOK, []string{"site@here: planned in"}, "golden", "rollback", "site@here", "--plan")
	ended := make(chan result, 1)
	go func() { ended <- shivxRun("golden", "rollback", "site@here/risky", "--in-place") }()
	awaitOut(t, "1 approval until", "runs", "--set", "site", "--wide")
	want(t, exitOK, nil, "approve", "golden/snapshot/site@here")
	r := <-ended
	if r.code != exitOK || !strings.Contains(r.out, "site@here: restored in") {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.err)
	}
	if got, err := os.ReadFile(w.file("web", "note")); err != nil || string(got) != "before" {
		t.Errorf("%q, %v", got, err)
	}
	bad := decode[shivx.GoldenRestoreResult](t, want(t, exitRefused, nil, "golden", "restore", "site@here/nothing", "--yes", "-o", "json"))
	if bad.Outcome != shivx.OutcomeRefused || bad.Steps == nil {
		t.Errorf("result: %+v", bad)
	}
	want(t, exitUsage, []string{"where on elsewhere does that lie?"}, "golden", "restore", "site@elsewhere", "--only", "x")
}
