package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/modules"
)

// entities counts the signals that entities are sent and passes findings on.
type entities struct {
	client.Client
	mu      sync.Mutex
	signals int
	told    chan string
}

func (c *entities) SignalWithStartWorkflow(_ context.Context, _, _ string, arg any, _ client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	c.mu.Lock()
	c.signals++
	c.mu.Unlock()
	if f, ok := arg.(shivx.Finding); ok && c.told != nil {
		c.told <- f.ID
	}
	return nil, nil
}

func (c *entities) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.signals
}

// newLedgerAgent is an agent of host h1 with nothing but a ledger in dir.
func newLedgerAgent(t *testing.T, dir string) (*Agent, *entities) {
	t.Helper()
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var = "h1", dir
	c := &entities{told: make(chan string, 100)}
	a := &Agent{cfg: cfg, client: c, log: slog.New(slog.DiscardHandler)}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "recovery"), 0o750))
	var err error
	a.ledger, err = ledger.Open(filepath.Join(dir, config.OperationalLedger), ledger.Options{Logger: a.log})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.ledger.Close() }) // the test may have closed it
	return a, c
}

func (a *Agent) find(t *testing.T, id string, at time.Time) {
	t.Helper()
	require.NoError(t, a.record(t.Context(), shivx.Finding{ID: id, Target: shivx.Target{Component: "svc", Host: "h1"}, ObservedAt: at}))
}

// openFindings opens the outbox of the ledger.
func (a *Agent) openFindings() *Outbox {
	return a.NewFindings()
}

// toldUntil runs the outbox until the finding was told and returns all that were.
func (a *Agent) toldUntil(t *testing.T, c *entities, last string) (ids []string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { a.findings.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()
	for {
		select {
		case id := <-c.told:
			ids = append(ids, id)
			if id == last {
				return ids
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s was not told, only %v", last, ids)
		}
	}
}

func TestLostPositionTellsTheLastHour(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"damaged":           func(p string) error { return os.WriteFile(p, []byte("\x00\x00\x00"), 0o600) },
		"empty":             func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"beyond the ledger": func(p string) error { return os.WriteFile(p, []byte("900\n"), 0o600) },
		"missing":           os.Remove,
		"a folder": func(p string) error {
			if err := os.Remove(p); err != nil {
				return err
			}
			return os.Mkdir(p, 0o750)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, c := newLedgerAgent(t, t.TempDir())
			a.findings = a.openFindings()
			for i := range 3 {
				a.find(t, fmt.Sprintf("old-%d", i), time.Now().Add(-2*time.Hour))
			}
			a.find(t, "recent", time.Now().Add(-30*time.Minute))
			require.NoError(t, spoil(a.findings.path))
			a.findings = a.openFindings()
			a.find(t, "new", time.Now())
			require.Equal(t, []string{"recent", "new"}, a.toldUntil(t, c, "new"))
			aside, err := filepath.Glob(a.findings.path + ".damaged-*")
			require.NoError(t, err)
			require.Equal(t, name != "missing", len(aside) == 1, "what was damaged is kept: %v", aside)
			a.findings = a.openFindings()
			require.Zero(t, a.findings.told.since, "the position is saved again")
			a.find(t, "newest", time.Now())
			require.Equal(t, []string{"newest"}, a.toldUntil(t, c, "newest"))
		})
	}
}

// TestOldFindingsWaitForTemporal: an agent that has never reached Temporal keeps all it found.
func TestOldFindingsWaitForTemporal(t *testing.T) {
	a, c := newLedgerAgent(t, t.TempDir())
	a.openFindings()
	a.find(t, "old", time.Now().Add(-2*time.Hour))
	a.find(t, "new", time.Now())
	a.findings = a.openFindings() // the agent was restarted
	require.Equal(t, []string{"old", "new"}, a.toldUntil(t, c, "new"))
}

func TestClosedLedgerRefusesRecords(t *testing.T) {
	a, _ := newLedgerAgent(t, t.TempDir())
	a.find(t, "first", time.Now())
	require.NoError(t, a.ledger.Close())
	before, err := os.ReadFile(filepath.Join(a.cfg.Paths.Var, config.OperationalLedger))
	require.NoError(t, err)
	require.ErrorIs(t, a.record(t.Context(), shivx.Finding{ID: "late"}), ledger.ErrClosed)
	require.NoError(t, a.record(t.Context(), shivx.Finding{ID: "first"}), "what is there is there")
	after, err := os.ReadFile(filepath.Join(a.cfg.Paths.Var, config.OperationalLedger))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestPoliciesAreToldEveryHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &entities{}
		a := &Agent{cfg: config.Default(), client: c, log: slog.New(slog.DiscardHandler)}
		a.cfg.Host, a.cfg.Components = "h1", []config.Component{{Name: "one"}, {Name: "two"}}
		a.cfg.Paths.Var, a.registered = t.TempDir(), make(chan struct{}, 1)
		monitor, err := health.NewMonitor("h1", nil, health.Options{Logger: a.log})
		require.NoError(t, err)
		told := func(context.Context, string, string, any) { a.registered <- struct{}{} }
		a.registry = modules.Open(t.Context(), a.cfg, monitor, told, a.log)
		ctx, stop := context.WithCancel(t.Context())
		go a.configure(ctx)
		synctest.Wait()
		require.Equal(t, 2, c.count())
		time.Sleep(configureEvery)
		synctest.Wait()
		require.Equal(t, 4, c.count())
		require.NoError(t, a.registry.Register(ctx, "three", true, time.Minute))
		synctest.Wait()
		require.Equal(t, 5, c.count(), "one that registers is told at once, the others are not told again")
		stop()
	})
}
