package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkpb "go.temporal.io/api/sdk/v1"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/workflows"
)

// putBack puts a copy of the host's files back, from when n changes had been made.
func (f *fakeCore) putBack(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append([]shivx.LevelChange(nil), f.changes[:n]...)
}

// walk makes n changes, a second apart, between NORMAL and LEVEL_1.
func (r *response) walk(n int) {
	for i := range n {
		r.at(time.Duration(i+1)*time.Second, func() { r.goTo(shivx.Levels()[(i+1)%2]) })
	}
}

func (r *response) messages() (out []string) {
	for _, m := range r.host.told {
		out = append(out, m.Message)
	}
	return out
}

func TestDegradationSeesWhatAHostDoesAfterAnOldCopyWasPutBack(t *testing.T) {
	r := newResponse(t)
	r.walk(7)
	var old []shivx.LevelChange
	r.at(time.Hour, func() {
		old = r.host.changes
		r.host.putBack(5)
		r.send(old[3]) // told again, as its place in the ledger is that of then
		r.goTo(shivx.LevelEmergency)
	})
	r.at(time.Hour+time.Minute, func() {
		s := r.status()
		require.Equal(t, shivx.LevelEmergency, s.LevelNow())
		require.Equal(t, uint64(6), s.Number)
		require.Len(t, s.Rewinds, 1)
		require.Equal(t, uint64(7), s.Rewinds[0].From)
		require.Equal(t, uint64(5), s.Rewinds[0].To)
		v, err := r.env.QueryWorkflow("__temporal_workflow_metadata")
		require.NoError(t, err)
		var meta sdkpb.WorkflowMetadata
		require.NoError(t, v.Get(&meta))
		require.Contains(t, meta.CurrentDetails, "| went back | from change 7 to 5 at ")
		for _, c := range []shivx.LevelChange{old[5], old[6], r.host.changes[5]} { // told late, or again
			r.send(c)
		}
	})
	r.at(2*time.Hour, func() { r.goTo(shivx.Level3); r.goTo(shivx.Level2); r.goTo(shivx.Level1) })
	got := r.run(3 * time.Hour)
	require.Equal(t, []uint64{1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9}, numbers(got.Changes))
	require.Equal(t, shivx.Level1, got.Level)
	require.Empty(t, got.MissingNumbers)
	require.Len(t, got.Rewinds, 1)
	said := r.messages()
	require.Len(t, said, 3, "of each once")
	require.Contains(t, said[0], "the audit of h1 went back from change 7 to 5: was an old copy of its files put back?")
	require.Contains(t, said[1], "h1 is in EMERGENCY since")
	require.Contains(t, said[2], "h1 is out of EMERGENCY since")
}

func TestDegradationTellsPeopleAgainWhenANumberIsGivenAgain(t *testing.T) {
	r := newResponse(t)
	for i := range 3 { // the same snapshot is put back, and each time the host comes to an emergency
		r.at(time.Duration(i+1)*time.Hour, func() {
			r.host.putBack(0)
			r.goTo(shivx.LevelEmergency)
		})
	}
	got := r.run(5 * time.Hour)
	keys := map[string]bool{}
	for _, m := range r.host.told {
		keys[m.Key] = true
	}
	require.Len(t, r.messages(), 5, "three emergencies, and twice that the audit went back")
	require.Len(t, keys, 5, "a key that was used is not told")
	require.Len(t, got.Rewinds, 2)
}

func TestDegradationTellsARewindByItsTimeWhenTheChangeIsNotKept(t *testing.T) {
	r := newResponse(t)
	r.walk(130)
	var first shivx.LevelChange
	r.at(time.Hour, func() {
		first = r.host.changes[9]
		r.send(first)
		require.Empty(t, r.status().Rewinds)
		r.host.putBack(9)
		r.goTo(shivx.Level3)
	})
	got := r.run(2 * time.Hour)
	require.Equal(t, uint64(10), got.Number)
	require.Equal(t, shivx.Level3, got.LevelNow())
	require.Len(t, got.Rewinds, 1)
	require.Equal(t, uint64(130), got.Rewinds[0].From)
}

func TestDegradationSeesARewindWithAClockThatWentBackToo(t *testing.T) {
	r := newResponse(t)
	r.walk(3)
	r.at(time.Hour, func() {
		r.host.putBack(1)
		r.send(r.host.change(shivx.LevelEmergency, r.env.Now().Add(-50*time.Hour)))
	})
	got := r.run(2 * time.Hour)
	require.Equal(t, shivx.LevelEmergency, got.LevelNow())
	require.Len(t, got.Rewinds, 1)
}

func TestDegradationForgetsWhatIsMissingOnceTheAuditWentBack(t *testing.T) {
	r := newResponse(t)
	r.at(time.Second, func() { r.goTo(shivx.Level1) })
	r.at(time.Minute, func() {
		for range 7 {
			r.host.change(shivx.Level2, r.env.Now())
		}
		r.goTo(shivx.Level3)
	})
	r.at(time.Hour, func() {
		require.Equal(t, "2–8", r.status().Missing())
		r.host.putBack(4)
		r.goTo(shivx.Level1) // 5, which was missing, but this is another one
	})
	got := r.run(2 * time.Hour)
	require.Equal(t, "2–4", got.Missing())
	require.Equal(t, shivx.Level1, got.Level)
	require.Len(t, got.Rewinds, 1)
}

func TestDegradationBelievesAFormerLedgerThatWasPutBack(t *testing.T) {
	r := newResponse(t)
	r.walk(3)
	r.at(time.Minute, func() { // the key was lost: a new ledger
		r.send(shivx.LevelChange{Host: "h1", Ledger: "new", Number: 43, From: shivx.LevelNormal, To: shivx.Level2, At: r.env.Now()})
	})
	r.at(time.Hour, func() {
		require.Equal(t, "new", r.status().Ledger)
		require.Empty(t, r.status().MissingNumbers, "nothing is known of what came before 43")
		require.Empty(t, r.status().Rewinds)
		r.goTo(shivx.LevelEmergency) // and then the old files were put back, with their key
	})
	got := r.run(2 * time.Hour)
	require.Equal(t, "abc", got.Ledger)
	require.Equal(t, shivx.LevelEmergency, got.LevelNow())
	require.Equal(t, []uint64{1, 2, 3, 43, 4}, numbers(got.Changes))
	require.Len(t, got.FormerLedgers, 1)
	require.Equal(t, "new", got.FormerLedgers[0].Ledger)
	require.Contains(t, r.messages()[0], "went back from change 43 of ledger new to 3 of the former ledger abc")
	require.Len(t, r.messages(), 2)
}

func TestDegradationThatBeginsAnewMissesNothingOfBefore(t *testing.T) {
	r := newResponse(t)
	r.at(time.Second, func() {
		for range 42 {
			r.host.change(shivx.Level1, r.env.Now())
		}
		r.goTo(shivx.Level2) // the first that this run is told
	})
	r.at(time.Minute, func() {
		require.Empty(t, r.status().MissingNumbers)
		require.Equal(t, uint64(43), r.status().Number)
		r.host.change(shivx.Level1, r.env.Now())
		r.goTo(shivx.Level3)
	})
	got := r.run(time.Hour)
	require.Equal(t, []workflows.Span{{From: 44, To: 44}}, got.MissingNumbers)
	require.Empty(t, r.messages())
}
