package golden_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/ledger"
)

func steps(r shivx.GoldenRestoreResult) (names []string) {
	for _, s := range r.Steps {
		name := string(s.Name)
		if s.Outcome == shivx.StepFailed {
			name += " failed"
		}
		names = append(names, name)
	}
	return names
}

func TestLocalRestore(t *testing.T) {
	s := makeStage(t)
	info := s.take(t, "one")
	for _, in := range []shivx.GoldenRestoreInput{{}, {Golden: "one", Mode: shivx.RestoreInPlace}} {
		fill(t, s.dir, "good 2")
		in.Set = "shop"
		before := s.pid()
		r, err := s.local(nil).Restore(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, shivx.OutcomeRestored, r.Outcome)
		require.Equal(t, info.ID, r.Golden.ID)
		require.True(t, r.Swapped)
		require.Positive(t, r.Downtime)
		require.Less(t, r.Downtime, r.Seconds+1)
		require.Empty(t, r.Stopped)
		require.Equal(t, "good 1", s.word(t))
		s.runs(t, "good 1", "the service runs with it")
		require.NotEqual(t, before, s.pid())
		require.Empty(t, s.left(t))
		want := []string{"resolve", "verify", "stage", "validate", "stop", "swap", "start", "load", "check", "finish"}
		if in.Mode == shivx.RestoreInPlace {
			want = []string{"resolve", "verify", "stage", "validate", "stop", "settle", "validate", "swap", "start", "load", "check", "finish"}
		}
		require.Equal(t, want, steps(r))
		rec, ok, err := s.ledger.Find("local " + r.Restore + "/end")
		require.NoError(t, err)
		require.True(t, ok)
		var end shivx.RecoveryRecord
		require.NoError(t, rec.Decode(&end))
		require.Equal(t, shivx.OutcomeRestored, end.Outcome)
		require.True(t, *end.Success)
	}
}

// TestServiceThatIsNotHealthyIsUndone: the new state does not please the service; the old one is back.
func TestServiceThatIsNotHealthyIsUndone(t *testing.T) {
	s := makeStage(t)
	fill(t, s.dir, "bad")
	s.take(t, "bad")
	fill(t, s.dir, "good 2")
	r, err := s.local(nil).Restore(t.Context(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}})
	require.ErrorContains(t, err, "not healthy")
	require.Equal(t, shivx.OutcomeUndone, r.Outcome)
	require.False(t, r.Swapped)
	require.Empty(t, r.Stopped)
	require.Equal(t, "good 2", s.word(t))
	s.runs(t, "good 2")
	require.Empty(t, s.left(t))
	require.Contains(t, steps(r), "undo")
	rec, ok, err := s.ledger.Find("local " + r.Restore + "/end")
	require.NoError(t, err)
	require.True(t, ok)
	var end shivx.RecoveryRecord
	require.NoError(t, rec.Decode(&end))
	require.False(t, *end.Success)
}

func TestRefusedBeforeServicesStop(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	pid := s.pid()
	// An invalid configuration in the golden.
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "srv/conf.json"), []byte("{"), 0o644))
	s.take(t, "invalid")
	fill(t, s.dir, "good 2")
	r, err := s.local(nil).Restore(t.Context(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}})
	require.ErrorContains(t, err, "conf.json")
	require.Equal(t, shivx.OutcomeFailed, r.Outcome)
	require.NotContains(t, err.Error(), "retryable", "words for workflows are not for people")
	// A damaged store.
	packs, err := filepath.Glob(filepath.Join(s.dir, "store/packs/*/*.pack"))
	require.NoError(t, err)
	for _, p := range packs {
		data, err := os.ReadFile(p)
		require.NoError(t, err)
		data[len(data)/2] ^= 4
		require.NoError(t, os.Chmod(p, 0o600))
		require.NoError(t, os.WriteFile(p, data, 0o600))
	}
	r, err = s.local(nil).Restore(t.Context(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}, Golden: "one"})
	require.Error(t, err)
	require.Equal(t, shivx.OutcomeDamaged, r.Outcome)
	require.Contains(t, shivx.HintOf(err), "scrub --repair")
	require.Equal(t, "good 2", s.word(t))
	require.Equal(t, pid, s.pid(), "no service was stopped")
	require.Empty(t, s.left(t))

	r, err = s.local(nil).Restore(t.Context(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}, Golden: "nothing"})
	require.Error(t, err)
	require.Equal(t, shivx.OutcomeRefused, r.Outcome)
}

// TestInterruptedAtEachStep: whoever ends a restore has the old state back, and its services.
func TestInterruptedAtEachStep(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	fill(t, s.dir, "good 2")
	s.stopService(t)
	s.start(t, 2, "good 2")
	for _, at := range []shivx.GoldenStep{shivx.GoldenStepVerify, shivx.GoldenStepStage, shivx.GoldenStepStop, shivx.GoldenStepSwap,
		shivx.GoldenStepStart, shivx.GoldenStepCheck} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := s.local(func(r shivx.GoldenStepReport) {
			if r.Name == at && r.Outcome == shivx.StepRunning {
				cancel()
			}
		}).Restore(ctx, shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}})
		cancel()
		require.ErrorIs(t, err, context.Canceled, at)
		require.Equal(t, shivx.OutcomeAborted, r.Outcome, at)
		require.Equal(t, "good 2", s.word(t), at)
		s.runs(t, "good 2", at)
		require.Empty(t, s.left(t), at)
	}
}

// TestWhatStaysStoppedIsSaid: nobody has to find out by himself, and what is left is taken up.
func TestWhatStaysStoppedIsSaid(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	fill(t, s.dir, "good 2")
	serve := filepath.Join(s.dir, "serve")
	good, err := os.ReadFile(serve)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(serve, []byte("exit 3\n"), 0o644))
	r, err := s.local(nil).Restore(t.Context(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}})
	require.ErrorContains(t, err, "STOPPED, and could not be started again: shop")
	require.Contains(t, shivx.HintOf(err), "shivx golden resume")
	require.Equal(t, []string{"shop"}, r.Stopped)
	require.Equal(t, shivx.OutcomeFailed, r.Outcome)
	require.Equal(t, "good 2", s.word(t))
	require.Empty(t, s.loaded())

	s = s.reopen(t)
	require.ErrorContains(t, s.local(nil).Resume(t.Context()), "STOPPED")
	require.NoError(t, os.WriteFile(serve, good, 0o644))
	s = s.reopen(t)
	require.NoError(t, s.local(nil).Resume(t.Context()))
	s.runs(t, "good 2")
	require.Empty(t, s.left(t))
	ends := s.ends(t, r.Restore)
	require.Len(t, ends, 3, "each end is in the ledger")
	require.Contains(t, ends[0].Message, "STOPPED")
	require.Contains(t, ends[1].Message, "STOPPED")
	require.Equal(t, shivx.OutcomeAborted, ends[2].Outcome)
}

// TestLocalRestoresExcludeEachOther from the first moment on, and no other process resumes what one has.
func TestLocalRestoresExcludeEachOther(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	fill(t, s.dir, "good 2")
	seen := map[shivx.GoldenStep]bool{}
	other := func() {
		require.ErrorIs(t, s.local(nil).Resume(t.Context()), restore.ErrBusy)
	}
	_, err := s.local(func(r shivx.GoldenStepReport) {
		if r.Outcome != shivx.StepRunning {
			return
		}
		seen[r.Name] = true
		res, err := s.local(nil).Restore(t.Context(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}})
		require.ErrorIs(t, err, restore.ErrBusy, r.Name)
		require.Equal(t, shivx.OutcomeRefused, res.Outcome)
		require.NotEmpty(t, shivx.HintOf(err))
		if r.Name != shivx.GoldenStepResolve && r.Name != shivx.GoldenStepVerify { // its job is written
			other()
		}
	}).Restore(t.Context(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}})
	require.NoError(t, err)
	require.Len(t, seen, 10)
	s.runs(t, "good 1")
}

// TestRecordsThatWait: while the agent has the ledger, steps wait in files until it takes them up.
func TestRecordsThatWait(t *testing.T) {
	s := makeStage(t)
	s.take(t, "one")
	fill(t, s.dir, "good 2")
	w, err := goldenacts.OpenWaiting(s.cfg.Paths.Var)
	require.NoError(t, err)
	s.acts.Ledger = w
	r, err := s.local(nil).Restore(t.Context(), shivx.GoldenRestoreInput{GoldenRequest: shivx.GoldenRequest{GoldenTarget: s.target()}})
	require.NoError(t, err)
	_, ok, err := s.ledger.Find("local " + r.Restore + "/end")
	require.NoError(t, err)
	require.False(t, ok)
	broken := filepath.Join(s.cfg.Paths.Var, "recovery/golden/unrecorded/00-broken.json")
	require.NoError(t, os.WriteFile(broken, []byte("{"), 0o600))
	record := func(ctx context.Context, path, key string, event any) error {
		require.Empty(t, path)
		_, err := s.ledger.Append(ctx, key, event)
		return err
	}
	require.ErrorContains(t, goldenacts.TakeUp(t.Context(), s.cfg.Paths.Var, record), "00-broken.json")
	require.NoError(t, os.Remove(broken))
	require.NoError(t, goldenacts.TakeUp(t.Context(), s.cfg.Paths.Var, record))
	for _, key := range []string{"local " + r.Restore + "/end", r.Restore + "/swap", r.Restore + "/start/shop/1"} {
		_, ok, err = s.ledger.Find(key)
		require.NoError(t, err)
		require.True(t, ok, key)
	}
}

// TestStepsTakePlaceOnce: a repeated step returns what it returned, and a failed one may be tried again.
func TestStepsTakePlaceOnce(t *testing.T) {
	s := makeStage(t)
	first := s.take(t, "one")
	fill(t, s.dir, "good 2")
	again := s.take(t, "one")
	require.Equal(t, first, again)
	in := activities.RestoreInput{GoldenTarget: s.target(), Run: "run", Restore: "r", Golden: first.ID, Mode: shivx.RestoreWhole}
	staged, err := s.acts.StageRestore(t.Context(), in)
	require.NoError(t, err)
	repeated, err := s.acts.StageRestore(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, staged, repeated)
	swapped, err := s.acts.SwapRestore(t.Context(), in)
	require.NoError(t, err)
	repeated, err = s.acts.SwapRestore(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, swapped, repeated)
	undone, err := s.acts.UndoRestore(t.Context(), in)
	require.NoError(t, err)
	require.False(t, undone.Skipped)
	require.Equal(t, "good 2", s.word(t))
	repeated, err = s.acts.UndoRestore(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, undone, repeated)

	pid := s.pid()
	for range 2 {
		_, err = s.acts.StopService(t.Context(), s.service(1))
		require.NoError(t, err)
		require.False(t, s.alive())
	}
	_, err = s.acts.StartService(t.Context(), s.service(1))
	require.NoError(t, err)
	require.False(t, s.alive(), "the start of this number was recorded before the stop")
	s.start(t, 2, "good 2")
	require.NotEqual(t, pid, s.pid())

	in.Restore, in.Golden = "other", "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	_, err = s.acts.StageRestore(t.Context(), in)
	require.Error(t, err)
	lines, err := os.ReadFile(filepath.Join(s.cfg.Paths.Var, config.OperationalLedger))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(lines), `"event_type":"`+shivx.EventStepFailed+`"`))
	_, err = s.acts.StopService(t.Context(), activities.ServiceInput{GoldenTarget: s.target(), Service: "nobody", Timeout: s.service(1).Timeout})
	require.Error(t, err)
}

// ends are the records of the ends of a local restore.
func (s *stage) ends(t *testing.T, id string) (ends []shivx.RecoveryRecord) {
	t.Helper()
	records, err := ledger.Tail(filepath.Join(s.cfg.Paths.Var, config.OperationalLedger), 1000)
	require.NoError(t, err)
	for _, rec := range records {
		var one shivx.RecoveryRecord
		require.NoError(t, rec.Decode(&one))
		if one.Run == "local "+id && one.EventType == shivx.EventGolden {
			ends = append(ends, one)
		}
	}
	return ends
}
