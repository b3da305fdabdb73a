package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// firstTerm is how long the first offence of a source is held against it.
const firstTerm = 8 * time.Second

// guardianSSH: a real sshd is attacked. Its host refuses the attacker at the packet level, and so do two
// others that have nothing but the firewall bouncer of CrowdSec. With nftables that bouncer, as Debian has
// it, takes single addresses alone; with iptables it takes networks, too, and so sources of IPv6.
func guardianSSH(t *testing.T) {
	server, n := stand.NewServer(t), stand.NewNetwork(t)
	host, far, old := n.Machine(), n.Machine(), n.Machine()
	for _, m := range []*stand.Machine{host, far, old} {
		m.Echo(echoPort)
	}
	d := newSSHD(t, host)
	yaml := func(allow ...string) string {
		return fill(guardedBy+"  allow: <allow>\n"+`
  logs: [{name: ssh, file: <log>, format: sshd}]
  terms: [8s, 1h]
`, "host", "ssh-1", "log", d.log, "allow", append([]string{n.Operator.IP4}, allow...))
	}
	g := guard(t, host, n.Relay(server.Address), yaml())
	bouncer(t, far, "nftables", host.IP4)
	bouncer(t, old, "iptables", host.IP4)
	s := &sshScene{t: t, server: server, n: n, host: host, far: far, old: old, d: d, g: g}

	s.firstOffence()
	s.secondOffence()
	s.sixByHand()
	s.allowed(yaml(n.Attacker.IP4))
	verifies(t, g)
}

// sshScene is what its steps share.
type sshScene struct {
	t      *testing.T
	server *stand.Server
	n      *stand.Network
	// host is attacked; far and old have bouncers that use nftables and iptables.
	host, far, old *stand.Machine
	d              *sshd
	g              *stand.Guarded
}

// firstOffence: the attacker is out for its term, then in again; others are served all the time.
func (s *sshScene) firstOffence() {
	t, attacker := s.t, s.n.Attacker.IP4
	tenth, refused := s.d.attack(s.n, attacker)
	t.Logf("10th failed login in the log → packets refused: %s", refused.Sub(tenth).Round(100*time.Microsecond))
	require.Less(t, refused.Sub(tenth), soon)
	require.True(t, served(s.n.Outside, s.n.Bystander.IP4, s.host.IP4, echoPort))
	require.NoError(t, s.d.login(s.n, s.n.Bystander.IP4), "the bystander logs in with a key")

	r := s.g.Isolated(patience, attacker, 1)
	require.Equal(t, shivx.ThreatBruteForceCritical, r.ThreatType)
	require.True(t, r.ThreatLevel.Serious())
	require.Equal(t, firstTerm, r.Isolation.Until.Sub(r.Isolation.Since))
	s.held(attacker, *r.Isolation)

	awaitServed(t, s.n.Outside, attacker, s.host.IP4)
	late := time.Since(r.Isolation.Until)
	t.Logf("term over → served: %s", late.Round(time.Millisecond))
	require.Greater(t, late, -100*time.Millisecond, "it was let go before its term was over")
	s.g.AwaitGuardianRecord(patience, "the end of the term in the audit", func(r stand.GuardianRecord) bool {
		return r.ActionTaken == shivx.ActionExpired && r.Source == attacker
	})
	s.ended(attacker, workflows.IsolationExpired)
}

// secondOffence: the longer term, which a person ends; the other host follows by its bouncer.
func (s *sshScene) secondOffence() {
	t, attacker := s.t, s.n.Attacker.IP4
	tenth, refused := s.d.attack(s.n, attacker)
	t.Logf("10th failed login in the log → packets refused: %s", refused.Sub(tenth).Round(100*time.Microsecond))
	r := s.g.Isolated(patience, attacker, 2)
	require.Equal(t, time.Hour, r.Isolation.Until.Sub(r.Isolation.Since))
	s.held(attacker, *r.Isolation)
	for _, m := range []*stand.Machine{s.far, s.old} {
		awaitDropped(t, s.n.Outside, attacker, m.IP4)
		t.Logf("isolated → refused by a bouncer's host: %s", time.Since(r.Isolation.Since).Round(time.Millisecond))
		require.True(t, served(s.n.Outside, s.n.Bystander.IP4, m.IP4, echoPort))
	}

	asked := time.Now()
	done(t, s.g, "guardian", "restore", attacker, "--why", "the test says so")
	awaitServed(t, s.n.Outside, attacker, s.host.IP4)
	t.Logf("restore through Temporal → served: %s", time.Since(asked).Round(time.Millisecond))
	s.ended(attacker, workflows.IsolationRestored)
	for _, m := range []*stand.Machine{s.far, s.old} {
		awaitServed(t, s.n.Outside, attacker, m.IP4)
		t.Logf("restore through Temporal → served by a bouncer's host: %s", time.Since(asked).Round(time.Millisecond))
	}
}

// sixByHand: of IPv6 the whole /64 is out, and let in at once by its host.
func (s *sshScene) sixByHand() {
	t := s.t
	done(t, s.g, "guardian", "isolate", s.n.Attacker.IP6, "--for", "1h", "--why", "by hand", "--local")
	for _, m := range []*stand.Machine{s.host, s.old} {
		for _, p := range []stand.Peer{s.n.Attacker, s.n.Neighbour} {
			awaitDropped(t, s.n.Outside, p.IP6, m.IP6)
		}
		require.True(t, served(s.n.Outside, s.n.Bystander.IP6, m.IP6, echoPort))
	}
	done(t, s.g, "guardian", "restore", s.n.Attacker.IP6, "--local")
	asked := time.Now()
	awaitServed(t, s.n.Outside, s.n.Attacker.IP6, s.host.IP6)
	t.Logf("restore on the host → served: %s", time.Since(asked).Round(time.Millisecond))
	awaitServed(t, s.n.Outside, s.n.Attacker.IP6, s.old.IP6)
}

// allowed: the allow list of a host outranks there what stands in the fleet, and all that comes.
func (s *sshScene) allowed(yaml string) {
	t, attacker := s.t, s.n.Attacker.IP4
	done(t, s.g, "guardian", "isolate", attacker, "--indefinite", "--why", "known bad")
	awaitDropped(t, s.n.Outside, attacker, s.host.IP4)
	s.g.Stop()
	require.True(t, dropped(s.n.Outside, attacker, s.host.IP4, echoPort), "an agent that stops lets nobody in")
	s.g.Configure(t, yaml)
	s.g.Start()
	s.g.AwaitReading(patience)
	awaitServed(t, s.n.Outside, attacker, s.host.IP4)
	s.g.AwaitGuardianRecord(patience, "the isolation to be passed over", func(r stand.GuardianRecord) bool {
		return r.EventType == shivx.EventIsolation && r.ActionTaken == shivx.ActionSpared && r.Source == attacker
	})
	s.d.failTimes(s.n, attacker, 10)
	s.g.AwaitGuardianRecord(patience, "the attacker to be spared", func(r stand.GuardianRecord) bool {
		return r.EventType == shivx.EventThreat && r.ActionTaken == shivx.ActionSpared && r.Source == attacker
	})
	require.True(t, served(s.n.Outside, attacker, s.host.IP4, echoPort))
}

// held waits until the durable run of a source has taken an isolation over, with a timer for its end.
func (s *sshScene) held(source string, i shivx.Isolation) {
	t, id := s.t, shivx.IsolationID(source)
	t.Helper()
	var state workflows.IsolationState
	stand.Await(t, patience, id+" to run", func(ctx context.Context) bool {
		v, err := s.server.Client().QueryWorkflow(ctx, id, "", shivx.QueryStatus)
		state = workflows.IsolationState{}
		return err == nil && v.Get(&state) == nil && state.Until.Equal(i.Until)
	})
	require.Equal(t, i.Offence, state.Offence)
	require.Equal(t, i.Threat, state.Threat)
	stand.Await(t, patience, "the timer of "+id, func(ctx context.Context) bool {
		h := s.server.Client().GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for h.HasNext() {
			e, err := h.Next()
			if err != nil {
				return false
			}
			term := e.GetTimerStartedEventAttributes().GetStartToFireTimeout().AsDuration()
			if ends := e.GetEventTime().AsTime().Add(term); term > 0 && ends.Sub(i.Until).Abs() < soon {
				return true
			}
		}
		return false
	})
}

// ended waits until the last run of a source has come to its end.
func (s *sshScene) ended(source, outcome string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var result workflows.IsolationResult
	require.NoError(s.t, s.server.Client().GetWorkflow(ctx, shivx.IsolationID(source), "").Get(ctx, &result))
	require.Equal(s.t, outcome, result.Outcome)
}
