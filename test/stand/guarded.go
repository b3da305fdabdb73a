package stand

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/ingest"
	"github.com/shivx/shivx/internal/ledger"
)

// Guarded is an agent that guards a machine.
type Guarded struct {
	*Agent
	Machine *Machine
	// Temporal is the address of the server for the machine.
	Temporal string
}

// agentAPI is where the agent of a machine listens, which has its ports for itself.
const agentAPI = "127.0.0.1:9470"

// Guard starts an agent on the machine that reaches Temporal at an address of the network. The
// configuration is as for NewAgent; the agent listens where it does by default, or on all addresses.
func (m *Machine) Guard(t testing.TB, temporal, yaml string) *Guarded {
	t.Helper()
	dir := t.TempDir()
	g := &Guarded{Agent: &Agent{Dir: dir, Var: filepath.Join(dir, "var")}, Machine: m, Temporal: temporal}
	g.Configure(t, yaml)
	g.Process = NewProcess(t, filepath.Join(dir, "agent.log"), []string{"TEMPORAL_ADDRESS=" + temporal},
		m.Argv(Bin(t, "shivx-worker"), "-config", g.config())...)
	g.Start()
	return g
}

// Configure writes another configuration, for the next start.
func (g *Guarded) Configure(t testing.TB, yaml string) {
	t.Helper()
	if err := os.WriteFile(g.config(), []byte(strings.ReplaceAll(yaml, "{dir}", g.Dir)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g *Guarded) config() string { return filepath.Join(g.Dir, "shivx.yaml") }

// Shivx runs the command line on the machine and returns what it said with its exit code.
func (g *Guarded) Shivx(args ...string) (said string, code int) {
	cmd := g.Machine.Command(append(append([]string{Bin(g.t, "shivx")}, args...), "--config", g.config())...)
	cmd.Env = append(os.Environ(), "TEMPORAL_ADDRESS="+g.Temporal)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		g.t.Error(err)
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Status is what the agent says of its guardian; false while it does not answer.
func (g *Guarded) Status() (s guardian.Status, ok bool) {
	token, err := os.ReadFile(filepath.Join(g.Var, "api.token"))
	if err != nil {
		return s, false
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+agentAPI+"/api/guardian/status", nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	client := g.Machine.HTTP("")
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return s, false
	}
	defer func() { _ = resp.Body.Close() }()
	return s, resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(&s) == nil
}

// AwaitStatus waits until the agent says of its guardian what is wanted.
func (g *Guarded) AwaitStatus(limit time.Duration, what string, match func(guardian.Status) bool) (s guardian.Status) {
	g.t.Helper()
	Await(g.t, limit, what, func(context.Context) (ok bool) {
		s, ok = g.Status()
		return ok && match(s)
	})
	return s
}

// AwaitReading waits until every log was opened, so that what is written from now on is new to the
// guardian, and every enforcer works.
func (g *Guarded) AwaitReading(limit time.Duration) {
	g.t.Helper()
	g.AwaitStatus(limit, "the guardian to read its logs", func(s guardian.Status) bool {
		opened := g.opened()
		return !slices.ContainsFunc(s.Logs, func(l ingest.LogStatus) bool { return l.Error != "" || !opened[l.Name] }) &&
			!slices.ContainsFunc(s.Enforcers, func(e enforce.EnforcerStatus) bool { return !e.OK })
	})
}

// opened are the logs whose place is saved.
func (g *Guarded) opened() map[string]bool {
	var saved struct {
		Positions map[string]any `json:"positions"`
	}
	b, err := os.ReadFile(filepath.Join(g.Var, "security", "guardian.checkpoint"))
	if err == nil {
		err = json.Unmarshal(b, &saved)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		g.t.Fatal(err)
	}
	out := map[string]bool{}
	for name := range saved.Positions {
		out[name] = true
	}
	return out
}

// GuardianAudit is the path of the guardian's audit.
func (a *Agent) GuardianAudit() string { return filepath.Join(a.Var, config.GuardianAudit) }

// GuardianRecord is a record of the guardian's audit with what its details are about.
type GuardianRecord struct {
	shivx.GuardianRecord
	// Details as they are in the audit.
	Details map[string]any
	// Isolation and Mode that the record states, if any.
	Isolation *shivx.Isolation
	Mode      *shivx.ModeChange
}

// GuardianRecords returns the records of the guardian's audit so far.
func (a *Agent) GuardianRecords() []GuardianRecord {
	a.t.Helper()
	var out []GuardianRecord
	err := ledger.Read(a.GuardianAudit(), 1, func(r ledger.Record) error {
		statement, err := guardian.Decode(r)
		if err != nil {
			return err
		}
		one := GuardianRecord{Isolation: statement.Isolation, Mode: statement.Mode}
		one.GuardianRecord.Details = &one.Details
		err = r.Decode(&one.GuardianRecord)
		out = append(out, one)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		a.t.Fatal(err)
	}
	return out
}

// AwaitGuardianRecord waits for a record of the guardian's audit that matches, and returns the last one.
func (a *Agent) AwaitGuardianRecord(limit time.Duration, what string, match func(GuardianRecord) bool) (found GuardianRecord) {
	a.t.Helper()
	Await(a.t, limit, what, func(context.Context) bool {
		all := a.GuardianRecords()
		slices.Reverse(all)
		i := slices.IndexFunc(all, match)
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// Isolated waits until the guardian itself has isolated a source, which is its offence with that number.
func (a *Agent) Isolated(limit time.Duration, source string, offence int) GuardianRecord {
	a.t.Helper()
	return a.AwaitGuardianRecord(limit, source+" to be isolated", func(r GuardianRecord) bool {
		return r.ActionTaken == shivx.ActionIsolated && r.Source == source && r.Isolation != nil && r.Isolation.Offence == offence
	})
}
