package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
)

// responses stands for the DegradationResponse of a host: it takes signals and can be away.
type responses struct {
	client.Client
	mu      sync.Mutex
	away    int // how many signals fail
	lost    int // how many are taken, but not acknowledged
	calls   []signalled
	arrived chan shivx.LevelChange
}

type signalled struct {
	workflowID, signal, kind string
	options                  client.StartWorkflowOptions
	input                    any
}

func (r *responses) SignalWithStartWorkflow(_ context.Context, id, signal string, arg any, o client.StartWorkflowOptions, kind any, in ...any) (client.WorkflowRun, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away > 0 {
		r.away--
		return nil, errors.New("no connection")
	}
	r.calls = append(r.calls, signalled{id, signal, kind.(string), o, in[0]})
	r.arrived <- arg.(shivx.LevelChange)
	if r.lost > 0 {
		r.lost--
		return nil, errors.New("the connection broke")
	}
	return nil, nil
}

func startOptions(queue, host string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: shivx.DegradationID(host), TaskQueue: queue}
}

// auditor is an agent of host h1 with a resilience audit.
type auditor struct {
	*Agent
	*responses
	audit *ledger.Ledger
}

func newAuditor(t *testing.T) *auditor {
	t.Helper()
	a, _ := newLedgerAgent(t, t.TempDir())
	r := &responses{arrived: make(chan shivx.LevelChange, 5000)}
	a.client = r
	audit, err := ledger.Open(filepath.Join(a.cfg.Paths.Var, "resilience", "resilience_audit.ndjson"), ledger.Options{Logger: a.log})
	require.NoError(t, err)
	t.Cleanup(func() { _ = audit.Close() }) // the test may have closed it
	return &auditor{a, r, audit}
}

func (a *auditor) append(t *testing.T, event string, details any) {
	t.Helper()
	_, err := a.audit.Append(t.Context(), "", shivx.ResilienceRecord{EventType: event, Module: shivx.ModuleHost, Details: details, Timestamp: time.Now()})
	require.NoError(t, err)
}

func (a *auditor) change(t *testing.T, n uint64, at time.Time) {
	t.Helper()
	event := []string{shivx.EventDegradation, shivx.EventRecovery, shivx.EventOverride}[n%3]
	a.append(t, event, shivx.LevelChange{Host: "h1", Ledger: "abc", Number: n, At: at})
}

// until runs the outbox until the change of that number has arrived, and returns all that have.
func (a *auditor) until(t *testing.T, o *Outbox, number uint64) (got []uint64) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { o.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()
	for {
		select {
		case c := <-a.arrived:
			if got = append(got, c.Number); c.Number == number {
				return got
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("change %d was not told, only %v", number, got)
		}
	}
}

func TestLevelChangesAreToldInOrder(t *testing.T) {
	a := newAuditor(t)
	o := a.NewLevelChanges(a.audit, startOptions)
	a.append(t, shivx.EventHealthCheck, map[string]any{"note": `"event_type":"degradation"`})
	a.change(t, 1, time.Now())
	a.append(t, shivx.EventRestart, nil)
	a.append(t, shivx.EventDegradation, "no change at all")
	a.append(t, shivx.EventDegradation, shivx.LevelChange{Host: "h2", Number: 99})
	a.away = 2
	a.change(t, 2, time.Now())
	a.change(t, 3, time.Now())
	require.Equal(t, []uint64{1, 2, 3}, a.until(t, o, 3))
	require.Equal(t, signalled{
		"degradation@h1", shivx.SignalHealth, shivx.TypeDegradationResponse,
		startOptions(a.cfg.Temporal.TaskQueue, "h1"), map[string]string{"host": "h1"},
	}, a.calls[0])
	a.change(t, 4, time.Now())
	o = a.NewLevelChanges(a.audit, startOptions) // the agent was restarted
	require.Equal(t, []uint64{4}, a.until(t, o, 4), "what was told is not told again")
}

func TestLevelChangesAreToldAtLeastOnce(t *testing.T) {
	a := newAuditor(t)
	o := a.NewLevelChanges(a.audit, startOptions)
	a.change(t, 1, time.Now())
	a.change(t, 2, time.Now())
	a.lost = 1
	require.Equal(t, []uint64{1, 1, 2}, a.until(t, o, 2))
}

// TestLostPositionTellsEveryLevelChange: the receiver drops what it has seen and must not miss one.
func TestLostPositionTellsEveryLevelChange(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"damaged":           func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) },
		"beyond the ledger": func(p string) error { return os.WriteFile(p, []byte("900\n"), 0o600) },
		"missing":           os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuditor(t)
			o := a.NewLevelChanges(a.audit, startOptions)
			for n := range uint64(4) {
				a.change(t, n+1, time.Now().Add(-100*time.Hour))
			}
			require.Equal(t, []uint64{1, 2, 3, 4}, a.until(t, o, 4))
			require.NoError(t, spoil(o.path))
			a.change(t, 5, time.Now())
			require.Equal(t, []uint64{1, 2, 3, 4, 5}, a.until(t, a.NewLevelChanges(a.audit, startOptions), 5))
			aside, err := filepath.Glob(o.path + ".damaged-*")
			require.NoError(t, err)
			require.Equal(t, name != "missing", len(aside) == 1, "what was damaged is kept: %v", aside)
			require.NoFileExists(t, filepath.Join(a.cfg.Paths.Var, "recovery", "dispatched"), "each outbox has a position of its own")
		})
	}
}

func TestLongQuietTimesAreNotReadAgain(t *testing.T) {
	a := newAuditor(t)
	o := a.NewLevelChanges(a.audit, startOptions)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range saveEvery / 50 {
				_, err := a.audit.Append(t.Context(), "", shivx.ResilienceRecord{EventType: shivx.EventHealthCheck})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { o.Run(ctx); close(done) }()
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(o.path)
		n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && n >= saveEvery
	}, 10*time.Second, 5*time.Millisecond)
	stop()
	<-done
}

func (a *Agent) recovery(t *testing.T, key, host, strategy string) {
	t.Helper()
	_, err := a.ledger.Append(t.Context(), key, shivx.RecoveryRecord{EventID: key, EventType: shivx.EventRecovery, Component: "svc",
		Host: host, Strategy: strategy, Timestamp: time.Now().Add(-100 * time.Hour)})
	require.NoError(t, err)
}

func TestRecoveriesOfThisHostAreCounted(t *testing.T) {
	a, c := newLedgerAgent(t, t.TempDir())
	counted := make(chan string, 100)
	fails := 2
	restarted := func(_ context.Context, r shivx.RecoveryRecord) error {
		if r.EventID == "b" && fails > 0 {
			fails--
			return errors.New("the disk is full")
		}
		counted <- fmt.Sprint(r.EventID, " ", r.Component, " ", r.Strategy)
		return nil
	}
	count := func(o *Outbox, until int) (out []string) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { o.Run(ctx); close(done) }()
		for range until {
			out = append(out, <-counted)
		}
		stop()
		<-done
		return append(out, drained(counted)...)
	}
	o := a.NewRecoveries(restarted)
	a.recovery(t, "a", "h1", "restart")
	a.recovery(t, "elsewhere", "h2", "restart")
	a.recovery(t, "gave up", "h1", "")
	a.recovery(t, "b", "h1", "restore")
	require.Equal(t, []string{"a svc restart", "b svc restore"}, count(o, 2))
	require.Zero(t, fails)

	a.recovery(t, "c", "h1", "restart")
	require.Equal(t, []string{"c svc restart"}, count(a.NewRecoveries(restarted), 1), "what was counted is passed over")

	require.NoError(t, os.Remove(o.path))
	require.Len(t, count(a.NewRecoveries(restarted), 3), 3, "when the position is lost all are told again: their key says that they were counted")

	// One that cannot be counted holds up no finding.
	fails = 1 << 30
	a.recovery(t, "b", "h1", "restore")
	a.findings = a.NewFindings()
	a.find(t, "f", time.Now())
	require.Equal(t, []string{"f"}, a.toldUntil(t, c, "f"))
}

// drained returns what is in the channel.
func drained(ch chan string) (out []string) {
	for {
		select {
		case s := <-ch:
			out = append(out, s)
		default:
			return out
		}
	}
}
