package stand

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/workflows"
)

// DiskAlone makes the score 100 less the percentage in use of the fullest mount that is watched,
// whatever else happens on the machine. It is the key "score" of the section "resilience".
const DiskAlone = `
  score:
    curves:
      - {resource: disk, points: [{at: 10, score: 90}, {at: 100, score: 0}]}
      - {resource: cpu, points: [{at: 100000, score: 100}]}
      - {resource: load, points: [{at: 100000, score: 100}]}
      - {resource: memory, points: [{at: 100000, score: 100}]}
      - {resource: inodes, points: [{at: 100000, score: 100}]}
      - {resource: threads, points: [{at: 100000, score: 100}]}
      - {resource: open_files, points: [{at: 100000, score: 100}]}
      - {resource: network, points: [{at: 100000, score: 100}]}
      - {resource: pressure_cpu, points: [{at: 100000, score: 100}]}
      - {resource: pressure_memory, points: [{at: 100000, score: 100}]}
      - {resource: pressure_io, points: [{at: 100000, score: 100}]}
`

// diskSize is the size of the file systems that Tmpfs makes, in bytes.
const diskSize = 32 << 20

// Tmpfs mounts a small file system of its own at dir, which is made.
func Tmpfs(t testing.TB, dir string) {
	t.Helper()
	testenv.Tmpfs(t, dir, fmt.Sprintf("size=%d", diskSize))
}

// Fill puts a file into a file system of Tmpfs, in place of the one before, that takes percent of it.
func Fill(t testing.TB, dir string, percent int) {
	t.Helper()
	path := filepath.Join(dir, "fill")
	err := os.Truncate(path, 0) // what is new must find room
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = os.WriteFile(path, bytes.Repeat([]byte{1}, diskSize*percent/100), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Shivx runs the command line on the agent's host and returns what it said with its exit code.
func (a *Agent) Shivx(s *Server, args ...string) (said string, code int) {
	cmd := exec.Command(Bin(a.t, "shivx"), append(args, "--config", filepath.Join(a.Dir, "shivx.yaml"))...)
	cmd.Env = append(os.Environ(), "TEMPORAL_ADDRESS="+s.Address)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		a.t.Error(err)
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Audit is the path of the agent's resilience audit.
func (a *Agent) Audit() string { return filepath.Join(a.Var, "resilience", "resilience_audit.ndjson") }

// AuditRecords returns the records of the audit so far; their details are json.RawMessage.
func (a *Agent) AuditRecords() []shivx.ResilienceRecord {
	a.t.Helper()
	var out []shivx.ResilienceRecord
	err := ledger.Read(a.Audit(), 1, func(r ledger.Record) error {
		var details json.RawMessage
		rec := shivx.ResilienceRecord{Details: &details}
		if err := r.Decode(&rec); err != nil {
			return err
		}
		rec.Details = details
		out = append(out, rec)
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		a.t.Fatal(err)
	}
	return out
}

// LevelChanges returns the changes of the level and of the override that are in the audit.
func (a *Agent) LevelChanges() []shivx.LevelChange {
	a.t.Helper()
	var out []shivx.LevelChange
	for _, r := range a.AuditRecords() {
		switch r.EventType {
		case shivx.EventDegradation, shivx.EventRecovery, shivx.EventOverride:
			var c shivx.LevelChange
			if err := json.Unmarshal(r.Details.(json.RawMessage), &c); err != nil {
				a.t.Fatal(err)
			}
			out = append(out, c)
		}
	}
	return out
}

// Flags reads the agent's flags file.
func (a *Agent) Flags() (out resilience.Flags, err error) {
	b, err := os.ReadFile(filepath.Join(a.Var, "resilience", "flags.json"))
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(b, &out)
}

// VerifyAudit fails the test when the audit does not verify.
func (a *Agent) VerifyAudit() {
	a.t.Helper()
	verify(a.t, a.Audit())
}

// AwaitAgreement waits until the DegradationResponse of host has been told every change that is in
// the audit, and compares them: none lost, none doubled, each beginning where the last one ended.
// It returns those of the audit.
func (a *Agent) AwaitAgreement(s *Server, host string, limit time.Duration) []shivx.LevelChange {
	a.t.Helper()
	var state workflows.DegradationState
	var want []shivx.LevelChange
	Await(a.t, limit, "the audit and the workflow to agree", func(ctx context.Context) bool {
		want = a.LevelChanges()
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		v, err := s.client.QueryWorkflow(ctx, shivx.DegradationID(host), "", shivx.QueryStatus)
		state = workflows.DegradationState{}
		return err == nil && v.Get(&state) == nil && state.Number == uint64(len(want))
	})
	for i, c := range want {
		if c.Number != uint64(i+1) || i > 0 && c.From != want[i-1].To {
			a.t.Fatalf("a change was lost or doubled: change %d of the audit is %+v", i+1, c)
		}
	}
	told := state.Changes // the workflow keeps the latest ones
	if len(state.MissingNumbers) > 0 || len(told) != min(len(want), 100) || len(state.FormerLedgers) > 0 {
		a.t.Fatalf("of %d changes the workflow has %d and misses %v", len(want), len(told), state.MissingNumbers)
	}
	for i, c := range want[len(want)-len(told):] {
		if g := told[i]; g.Ledger != c.Ledger || g.Number != c.Number || g.From != c.From || g.To != c.To || g.Cause != c.Cause || g.Reason != c.Reason {
			a.t.Fatalf("change %d is %+v in the audit and %+v in the workflow", c.Number, c, g)
		}
	}
	a.VerifyAudit()
	return want
}
