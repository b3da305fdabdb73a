package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// restartBudget: a service that dies again and again is healed as often as allowed; then people
// are told, once, and automation keeps away.
func restartBudget(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	letters := filepath.Join(t.TempDir(), "letters")
	s := play(t, server, "budget", "\n  - name: shop"+ourAlert+d.checks()+"    ladder:"+d.restart()+fill(`
    validate: {window: 300ms, every: 100ms, settle: 10s}
    limits: {heals: 2, window: 1h, cooldown: 100ms}
notify:
  - name: pager
    command: {argv: [sh, -c, <write>]}
`, "write", "cat >> "+letters+"; echo >> "+letters))
	for n := 1; n <= 2; n++ {
		before, killed := d.pid(), d.kill()
		s.healed("shop", n, killed, "restart", shivx.RecoverProcess)
		d.works(before)
		s.awaitQuiet("shop")
	}
	require.NoFileExists(t, letters)

	killed := d.kill()
	told := s.AwaitRecord(patience, "people to be told", func(r shivx.RecoveryRecord) bool { return r.EventType == shivx.EventEscalation })
	t.Logf("the third death: fault → people told %s", told.Timestamp.Sub(killed))
	require.Equal(t, shivx.OutcomeRefused, told.Outcome)
	require.Contains(t, told.Message, "2 heals within 1h0m0s; automation keeps away")
	letter := readLetter(t, letters)
	require.Equal(t, s.target("shop"), letter.Target)
	require.NotEmpty(t, letter.Hint)

	s.accepted("firing", killed) // a further finding changes nothing
	state := s.awaitQuiet("shop")
	require.True(t, state.OverBudget)
	require.NotEmpty(t, state.Pending, "the fault waits for room in the budget")
	require.Len(t, s.runs("shop"), 2)
	require.False(t, d.alive(), "automation did not keep away")
	require.Len(t, s.events(shivx.EventEscalation, "shop"), 1, "people are told once")
	s.VerifyLedger()
}

// readLetter reads the one message people got.
func readLetter(t *testing.T, path string) (out activities.EscalateInput) {
	t.Helper()
	stand.Await(t, patience, "the letter", func(context.Context) bool {
		b, err := os.ReadFile(path)
		return err == nil && json.Unmarshal(b, &out) == nil
	})
	return out
}

// ladderUsedUp: nothing helps. People are told and the component stays out of traffic; when they
// have repaired it, that is verified and it goes back into traffic by itself.
func ladderUsedUp(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	h := testenv.HAProxy(t, d.addr, backup(t)+" backup")
	letters := filepath.Join(t.TempDir(), "letters")
	s := play(t, server, "used-up", "\n  - name: shop"+d.checks()+fill(isolateByHAProxy, "socket", h.Socket)+fill(`
      - name: restart
        use: process
        attempts: 2
        with: {start: [/bin/false], pid_file: <pid>}
`+quick+`
notify:
  - command: {argv: [sh, -c, <write>]}
`, "pid", d.pidFile(), "write", "cat >> "+letters+"; echo >> "+letters))
	killed := d.kill()
	r := s.AwaitRecovery("shop", 1, patience)
	t.Logf("shop: fault → people told and run ended %s", r.Timestamp.Sub(killed).Round(time.Millisecond))
	require.Equal(t, shivx.OutcomeFailed, r.Outcome)
	require.False(t, *r.Success)
	require.Len(t, s.events(shivx.EventStepFailed, "shop"), 2, "two attempts")
	require.Contains(t, readLetter(t, letters).Message, "no strategy of 1 helped")
	require.True(t, s.awaitQuiet("shop").Isolated)
	require.Equal(t, byS2, answerer(h.Addr), "what could not be healed stays out of traffic")

	d.start()
	r = s.AwaitRecovery("shop", 2, patience)
	require.Equal(t, shivx.OutcomeHealthy, r.Outcome, r.Message)
	require.Equal(t, byS1, answerer(h.Addr))
	require.False(t, s.awaitQuiet("shop").Isolated)
	s.VerifyLedger()
}

// diesAgainAtOnce: the service dies again while the run that healed it is being ended. This
// second death is healed, too, and not only when the finding is repeated a minute later.
func diesAgainAtOnce(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	ending := filepath.Join(t.TempDir(), "ending")
	s := play(t, server, "dies-again", fill(`
  - name: shop
    isolate:
      use: script
      with: {recover: ["true"], isolate: ["true"], reintegrate: [sh, -c, <slow>]}`,
		"slow", "touch "+ending+"; sleep 0.5")+d.checks()+"    ladder:"+d.restart()+quick)
	d.kill()
	stand.Await(t, patience, "the run to be ending", exists(ending))
	require.NoError(t, os.Remove(ending))
	before, again := d.pid(), d.kill()
	s.AwaitRecovery("shop", 2, 30*time.Second)
	s.healed("shop", 2, again, "restart", shivx.RecoverProcess)
	d.works(before)
	s.awaitQuiet("shop")
	require.Len(t, s.runs("shop"), 2)
}
