package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/test/stand"
)

// starts stands for a Temporal that takes starts and can be away.
type starts struct {
	client.Client
	mu      sync.Mutex
	away    int // how many starts fail
	lost    int // how many are taken, but not acknowledged
	options []client.StartWorkflowOptions
	inputs  []shivx.SafeSnapshotInput
	began   chan string
}

func (s *starts) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, kind any, in ...any) (client.WorkflowRun, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away > 0 {
		s.away--
		return nil, errors.New("no connection")
	}
	if kind != shivx.TypeSafeSnapshot {
		return nil, fmt.Errorf("a start of %v", kind)
	}
	s.options, s.inputs = append(s.options, o), append(s.inputs, in[0].(shivx.SafeSnapshotInput))
	s.began <- o.ID
	if s.lost > 0 {
		s.lost--
		return nil, errors.New("the connection broke")
	}
	return nil, nil
}

// locking is an agent with a guardian's audit and sets, two of which ask for a snapshot.
type locking struct {
	*Agent
	*starts
	audit *ledger.Ledger
}

func newLocking(t *testing.T) *locking {
	t.Helper()
	a, _ := newLedgerAgent(t, t.TempDir())
	a.cfg.Golden.Sets = nil
	for _, name := range []string{"system", "big", "shop"} {
		s := config.GoldenSet{Name: name}
		s.Snapshots.AtLockdown = name != "big"
		a.cfg.Golden.Sets = append(a.cfg.Golden.Sets, s)
	}
	l := &locking{Agent: a, starts: &starts{began: make(chan string, 100)}}
	a.client = l.starts
	var err error
	l.audit, err = ledger.Open(filepath.Join(a.cfg.Paths.Var, config.GuardianAudit), ledger.Options{Logger: a.log})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.audit.Close() })
	return l
}

// change records a change of the mode at a time and returns it.
func (l *locking) change(t *testing.T, from, to shivx.DefenseMode, at time.Time, action shivx.Action) shivx.ModeChange {
	t.Helper()
	m := shivx.ModeChange{Host: "h1", From: from, To: to, By: "ana", Reason: "an intruder", At: at.UTC()}
	_, err := l.audit.Append(t.Context(), "", shivx.GuardianRecord{
		Timestamp: at.UTC(), EventType: shivx.EventMode, Source: "host:h1", Details: m, ActionTaken: action})
	require.NoError(t, err)
	return m
}

// until runs the outbox until that many snapshots have begun, and returns all that have.
func (l *locking) until(t *testing.T, n int) (ids []string) {
	t.Helper()
	o := l.NewSnapshots(l.audit)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { o.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()
	for len(ids) < n {
		select {
		case id := <-l.began:
			ids = append(ids, id)
		case <-time.After(10 * time.Second):
			t.Fatalf("only %v began", ids)
		}
	}
	return ids
}

func idsOf(m shivx.ModeChange) []string {
	at := m.At.Format(time.RFC3339Nano)
	return []string{"golden/snapshot/system@h1/lockdown/" + at, "golden/snapshot/shop@h1/lockdown/" + at}
}

// TestALockdownTakesSnapshots: one of each set that asks for it, once for each lockdown, and only then.
func TestALockdownTakesSnapshots(t *testing.T) {
	l := newLocking(t)
	now := time.Now().Add(-time.Minute)
	l.change(t, shivx.DefenseNormal, shivx.DefenseElevated, now, shivx.ActionElevated)
	first := l.change(t, shivx.DefenseNormal, shivx.DefenseLockdown, now.Add(time.Second), shivx.ActionLockdown)
	l.change(t, shivx.DefenseLockdown, shivx.DefenseLockdown, now.Add(2*time.Second), shivx.ActionFollowed)
	l.change(t, shivx.DefenseLockdown, shivx.DefenseNormal, now.Add(3*time.Second), shivx.ActionLockdownEnded)
	second := l.change(t, shivx.DefenseNormal, shivx.DefenseLockdown, now.Add(4*time.Second), shivx.ActionFollowed)
	require.Equal(t, append(idsOf(first), idsOf(second)...), l.until(t, 4))
	require.Equal(t, shivx.SafeSnapshotInput{
		GoldenRequest: shivx.GoldenRequest{GoldenTarget: shivx.GoldenTarget{Set: "system", Host: "h1"}, Reason: "LOCKDOWN: an intruder", RequestedBy: "ana"},
		Name:          "lockdown-" + first.At.Format("20060102T150405Z"),
		KeepOlder:     true,
	}, l.inputs[0])
	third := l.change(t, shivx.DefenseNormal, shivx.DefenseLockdown, now.Add(5*time.Second), shivx.ActionLockdown)
	require.Equal(t, idsOf(third), l.until(t, 2), "what has begun does not begin again after a restart")
}

func TestSnapshotsBeginOnceTemporalIsBack(t *testing.T) {
	l := newLocking(t)
	l.away, l.lost = 3, 1
	m := l.change(t, shivx.DefenseNormal, shivx.DefenseLockdown, time.Now(), shivx.ActionLockdown)
	ids := idsOf(m)
	require.Equal(t, []string{ids[0], ids[0], ids[1]}, l.until(t, 3), "one that may have begun is asked for again, by the same id")
}

// TestOldLockdownsTakeNoSnapshot: when the position is lost all are looked at again.
func TestOldLockdownsTakeNoSnapshot(t *testing.T) {
	l := newLocking(t)
	l.change(t, shivx.DefenseNormal, shivx.DefenseLockdown, time.Now().Add(-100*time.Hour), shivx.ActionLockdown)
	m := l.change(t, shivx.DefenseNormal, shivx.DefenseLockdown, time.Now().Add(-time.Hour), shivx.ActionLockdown)
	require.Equal(t, idsOf(m), l.until(t, 2))
	require.NoError(t, os.Remove(filepath.Join(l.cfg.Paths.Var, "security", "dispatched-snapshots")))
	require.Equal(t, idsOf(m), l.until(t, 2))
	l.cfg.Golden.Sets = l.cfg.Golden.Sets[1:2]
	require.Nil(t, l.NewSnapshots(l.audit), "no set asks for snapshots")
}

// TestALockdownHasOneRunOfASet asks a real server twice, while the run goes on and after its end.
func TestALockdownHasOneRunOfASet(t *testing.T) {
	a, _ := newLedgerAgent(t, t.TempDir())
	a.client, a.namespace = stand.NewServer(t).Client(), client.DefaultNamespace
	require.NoError(t, a.prepareServer(t.Context()))
	target := shivx.GoldenTarget{Set: "system", Host: "h1"}
	m := shivx.ModeChange{To: shivx.DefenseLockdown, By: "ana", Reason: "an intruder", At: time.Now()}
	id := "golden/snapshot/system@h1/lockdown/" + m.At.UTC().Format(time.RFC3339Nano)
	require.NoError(t, a.startSnapshot(t.Context(), target, m))
	first := a.client.GetWorkflow(t.Context(), id, "").GetRunID()
	require.NoError(t, a.startSnapshot(t.Context(), target, m))
	require.NoError(t, a.client.TerminateWorkflow(t.Context(), id, "", "it has ended"))
	require.NoError(t, a.startSnapshot(t.Context(), target, m))
	d, err := a.client.DescribeWorkflowExecution(t.Context(), id, "")
	require.NoError(t, err)
	info := d.GetWorkflowExecutionInfo()
	require.Equal(t, first, info.GetExecution().GetRunId())
	require.Contains(t, info.GetSearchAttributes().GetIndexedFields(), shivx.AttrSet)
}

func TestWhatARestoreSaysOfALedgerIsInThatLedger(t *testing.T) {
	l := newLocking(t)
	l.guardAudit = l.audit
	for key, path := range map[string]string{
		"a": "", "b": filepath.Join(l.cfg.Paths.Var, config.OperationalLedger), "c": filepath.Join(l.cfg.Paths.Var, config.GuardianAudit),
	} {
		require.NoError(t, l.recordIn(t.Context(), path, key, map[string]string{"event_type": "test"}))
	}
	require.True(t, l.ledger.Has("a") && l.ledger.Has("b") && l.audit.Has("c"))
	require.Error(t, l.recordIn(t.Context(), "/elsewhere/other.ndjson", "d", map[string]string{}))
}
