package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// guardianFleet: two hosts and one Temporal, which goes away and comes back.
func guardianFleet(t *testing.T) {
	f := newFleet(t)
	f.followsEachOther()
	f.temporalAway()
	f.killed()
	f.lockdownRollsBack()
	f.lockdownStays()
	f.tampering()
	for _, m := range f.hosts {
		verifies(t, m.g)
	}
}

// fleet is what its steps share.
type fleet struct {
	t      *testing.T
	server *stand.Server
	n      *stand.Network
	hosts  []*fleetHost
	// shop is a service of the first host.
	shop *demo
}

// fleetHost is one host with its log and a watched folder.
type fleetHost struct {
	*stand.Machine
	g            *stand.Guarded
	log, watched string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, server: stand.NewServer(t), n: stand.NewNetwork(t)}
	temporal := f.n.Relay(f.server.Address)
	f.shop = &demo{t: t, dir: t.TempDir(), addr: "127.0.0.1:8080"}
	for i, components := range []string{"components:" + f.shop.component("shop"), "components: []\n"} {
		h := &fleetHost{Machine: f.n.Machine(), log: filepath.Join(t.TempDir(), "auth.log"), watched: t.TempDir()}
		h.Echo(echoPort)
		appendTo(t, h.log, failedLogin("192.0.2.1"))
		require.NoError(t, os.WriteFile(filepath.Join(h.watched, "program"), []byte("as it was\n"), 0o755))
		if i == 0 {
			f.startShop(h.Machine)
		}
		h.g = guard(t, h.Machine, temporal, fill(fleetPreamble+components+`
guardian:
  allow: [<operator4>, <operator6>]
  terms: [1h, 2h]
  defense: {threats: 100000}
  logs: [{name: ssh, file: <log>, format: sshd}]
  integrity: {paths: [<watched>]}
`, "host", fmt.Sprintf("fleet-%d", i+1), "operator4", f.n.Operator.IP4, "operator6", f.n.Operator.IP6, "log", h.log, "watched", h.watched))
		f.hosts = append(f.hosts, h)
	}
	return f
}

const fleetPreamble = `version: 1
host: <host>
paths: {var: "{dir}/var"}
api: {listen: ":9470"}
defaults: {every: 150ms, timeout: 2s}
`

// startShop starts the service on the host, as an init system would.
func (f *fleet) startShop(m *stand.Machine) {
	cmd := m.Command(f.shop.argv()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(f.t, cmd.Start())
	go func() { _ = cmd.Wait() }()
	f.t.Cleanup(f.shop.end)
	stand.Await(f.t, patience, "the demo service to run", func(context.Context) bool { return f.shop.alive() })
}

// refused waits until no host answers an address any more, and let until all do.
func (f *fleet) refused(ip string) {
	f.t.Helper()
	for _, h := range f.hosts {
		awaitDropped(f.t, f.n.Outside, ip, h.IP4)
	}
}

func (f *fleet) let(ip string) {
	f.t.Helper()
	for _, h := range f.hosts {
		awaitServed(f.t, f.n.Outside, ip, h.IP4)
	}
}

// followsEachOther: who attacks one host is refused by the other, and let go by both.
func (f *fleet) followsEachOther() {
	t, attacker := f.t, f.n.Attacker.IP4
	written := time.Now()
	appendTo(t, f.hosts[0].log, failedLogins(attacker)...)
	awaitDropped(t, f.n.Outside, attacker, f.hosts[0].IP4)
	t.Logf("lines written → refused: %s", time.Since(written).Round(time.Millisecond))
	awaitDropped(t, f.n.Outside, attacker, f.hosts[1].IP4)
	t.Logf("lines written → refused by the other host: %s", time.Since(written).Round(time.Millisecond))
	require.True(t, served(f.n.Outside, f.n.Bystander.IP4, f.hosts[1].IP4, echoPort))
	f.hosts[1].g.AwaitGuardianRecord(patience, "the other host to follow", func(r stand.GuardianRecord) bool {
		return r.ActionTaken == shivx.ActionFollowed && r.Source == attacker
	})
	asked := time.Now()
	done(t, f.hosts[1].g, "guardian", "restore", attacker)
	f.let(attacker)
	t.Logf("restore → served by both hosts: %s", time.Since(asked).Round(time.Millisecond))
}

// temporalAway: a host needs no Temporal to keep somebody out, who is known to all when it is back.
func (f *fleet) temporalAway() {
	t, attacker := f.t, f.n.Neighbour.IP4
	f.server.Kill()
	written := time.Now()
	appendTo(t, f.hosts[1].log, failedLogins(attacker)...)
	awaitDropped(t, f.n.Outside, attacker, f.hosts[1].IP4)
	t.Logf("lines written → refused without Temporal: %s", time.Since(written).Round(time.Millisecond))
	require.True(t, served(f.n.Outside, attacker, f.hosts[0].IP4, echoPort), "the other host cannot know")
	said, code := f.hosts[0].g.Shivx("guardian", "status")
	require.Zero(t, code, said)

	f.server.Start()
	f.server.Await()
	back := time.Now()
	stand.Await(t, patience, "the run of the isolation", func(ctx context.Context) bool {
		v, err := f.server.Client().QueryWorkflow(ctx, shivx.IsolationID(attacker), "", shivx.QueryStatus)
		var state workflows.IsolationState
		return err == nil && v.Get(&state) == nil && state.Host == "fleet-2"
	})
	t.Logf("Temporal back → the run is there: %s", time.Since(back).Round(time.Millisecond))
	f.refused(attacker)
	t.Logf("Temporal back → refused by the other host: %s", time.Since(back).Round(time.Millisecond))
	require.Contains(t, done(t, f.hosts[0].g, "guardian", "status", "--fleet"), attacker)
}

// killed: the kernel keeps a block while the agent is away, and the agent brings back what was taken
// out of the kernel meanwhile.
func (f *fleet) killed() {
	t, attacker, h := f.t, f.n.Neighbour.IP4, f.hosts[1]
	h.g.Kill()
	require.True(t, dropped(f.n.Outside, attacker, h.IP4, echoPort), "the kernel keeps the block")
	h.g.Start()
	h.g.AwaitStatus(patience, "the block to be in force again", func(s guardian.Status) bool { return s.Isolated == 1 && s.Isolations[0].Source == attacker })
	require.True(t, dropped(f.n.Outside, attacker, h.IP4, echoPort))

	h.g.Kill()
	out, err := h.Command("nft", "delete", "table", "inet", "shivx").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.True(t, served(f.n.Outside, attacker, h.IP4, echoPort))
	h.g.Start()
	began := time.Now()
	awaitDropped(t, f.n.Outside, attacker, h.IP4)
	t.Logf("agent started → refused: %s", time.Since(began).Round(time.Millisecond))

	done(t, f.hosts[0].g, "guardian", "restore", attacker)
	f.let(attacker)
}

// strangers are kept out of all hosts and the operator is not, or all are let in.
func (f *fleet) lockedDown(yes bool) {
	f.t.Helper()
	for _, h := range f.hosts {
		for _, to := range []struct{ stranger, operator, host string }{
			{f.n.Bystander.IP4, f.n.Operator.IP4, h.IP4}, {f.n.Bystander.IP6, f.n.Operator.IP6, h.IP6},
		} {
			if yes {
				awaitDropped(f.t, f.n.Outside, to.stranger, to.host)
			} else {
				awaitServed(f.t, f.n.Outside, to.stranger, to.host)
			}
			require.True(f.t, served(f.n.Outside, to.operator, to.host, echoPort), "%s is on the allow list", to.operator)
		}
	}
}

// mode waits until all hosts are in a mode as it should be.
func (f *fleet) mode(what string, match func(shivx.ModeChange) bool) {
	f.t.Helper()
	for _, h := range f.hosts {
		h.g.AwaitStatus(patience, what, func(s guardian.Status) bool { return s.Mode == s.Change.To && match(s.Change) })
	}
}

func unconfirmed(c shivx.ModeChange) bool { return c.To == shivx.DefenseLockdown && c.Unconfirmed }
func confirmed(c shivx.ModeChange) bool {
	return c.To == shivx.DefenseLockdown && !c.Unconfirmed && c.Until.IsZero()
}
func normal(c shivx.ModeChange) bool { return c.To == shivx.DefenseNormal }

// lockdownRollsBack: what nobody confirms ends by itself.
func (f *fleet) lockdownRollsBack() {
	t := f.t
	asked := time.Now()
	done(t, f.hosts[0].g, "guardian", "lockdown", "--why", "a drill", "--confirm-within", "10s")
	f.mode("the lockdown", unconfirmed)
	f.lockedDown(true)
	t.Logf("lockdown asked for → both hosts closed: %s", time.Since(asked).Round(time.Millisecond))
	f.lockedDown(false)
	t.Logf("lockdown asked for → rolled back after 10 s: %s", time.Since(asked).Round(time.Millisecond))
	require.Greater(t, time.Since(asked), 10*time.Second)
	f.mode("the end of the lockdown", normal)
}

// lockdownStays: what a person confirms holds until a person ends it. Meanwhile hosts reach Temporal,
// and heal.
func (f *fleet) lockdownStays() {
	t := f.t
	done(t, f.hosts[0].g, "guardian", "lockdown", "--why", "an intruder", "--confirm-within", "1m")
	f.mode("the second lockdown", unconfirmed)
	done(t, f.hosts[1].g, "guardian", "confirm")
	f.mode("the confirmed lockdown", confirmed)
	f.lockedDown(true)

	before := f.shop.pid()
	f.shop.kill()
	r := f.hosts[0].g.AwaitRecovery("shop", 1, patience)
	require.Equal(t, shivx.OutcomeHealed, r.Outcome, r.Message)
	require.True(t, f.shop.alive())
	require.NotEqual(t, before, f.shop.pid())
	f.refusesOthers()
	f.lockedDown(true)

	done(t, f.hosts[1].g, "guardian", "restore", "--lockdown", "--why", "all clear")
	f.lockedDown(false)
	f.mode("the end of the second lockdown", normal)
}

// refusesOthers: a runbook that is not critical is refused by its name.
func (f *fleet) refusesOthers() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	run, err := f.server.Client().ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "chaos", TaskQueue: shivx.RunbookQueue}, "ChaosExperiment")
	require.NoError(f.t, err)
	err = run.Get(ctx, nil)
	refused, ok := errors.AsType[*temporal.ApplicationError](err)
	require.True(f.t, ok, "%v", err)
	require.Equal(f.t, activities.ErrLockdown, refused.Type())
	require.ErrorContains(f.t, err, "ChaosExperiment may not start in the mode LOCKDOWN")
}

// tampering with a watched file locks the fleet down; what a ticket announces does not.
func (f *fleet) tampering() {
	t, h := f.t, f.hosts[1]
	program := filepath.Join(h.watched, "program")
	said := done(t, h.g, "guardian", "baseline", "ticket", program, "--for", "10m", "--why", "deploy", "--output", "json")
	require.NoError(t, os.WriteFile(program, []byte("as announced\n"), 0o755))
	h.g.AwaitGuardianRecord(patience, "the expected change", func(r stand.GuardianRecord) bool {
		return r.EventType == shivx.EventIntegrity && r.ActionTaken == "expected_change"
	})
	done(t, h.g, "guardian", "baseline", "close", ticketOf(t, said))
	f.mode("no lockdown after a change with a ticket", normal)

	require.NoError(t, os.WriteFile(program, []byte("as nobody has announced\n"), 0o755))
	changed := time.Now()
	r := h.g.AwaitGuardianRecord(patience, "the tampering", func(r stand.GuardianRecord) bool { return r.ThreatType == shivx.ThreatTampering })
	require.Equal(t, shivx.ActionLockdown, r.ActionTaken)
	require.Equal(t, sha256Of("as announced\n"), r.Details["expected_hash"])
	require.Equal(t, sha256Of("as nobody has announced\n"), r.Details["current_hash"])
	t.Logf("file changed → lockdown: %s", r.Timestamp.Sub(changed).Round(time.Millisecond))
	f.mode("the lockdown after the tampering", confirmed)
	f.lockedDown(true)
	done(t, h.g, "guardian", "baseline", "accept", "--why", "seen and approved")
	done(t, h.g, "guardian", "restore", "--lockdown")
	f.lockedDown(false)
}
