package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

const isolateByHAProxy = `
    isolate:
      use: network
      with: {haproxy: {socket: <socket>, backend: app, server: s1}}
    ladder:`

// backup is the other backend of the load balancer.
func backup(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "backup") }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

const (
	byS1   = "s1"
	byS2   = "s2"
	failed = "nobody"
)

// answerer says which backend answers through the load balancer.
func answerer(addr string) string {
	c := &http.Client{Timeout: 6 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + addr + "/")
	if err != nil {
		return failed
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil || resp.StatusCode != http.StatusOK:
		return failed
	case string(body) == "backup":
		return byS2
	case strings.Contains(string(body), `"pid"`):
		return byS1
	default:
		return failed
	}
}

// visitors ask through the load balancer every 20 ms, without waiting for each other.
type visitors struct {
	addr string
	stop chan struct{}
	all  sync.WaitGroup

	mu     sync.Mutex
	visits []visit
}

type visit struct {
	began time.Time
	took  time.Duration
	by    string
}

func newVisitors(addr string) *visitors {
	v := &visitors{addr: addr, stop: make(chan struct{})}
	v.all.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-v.stop:
				return
			case <-tick.C:
				v.all.Go(v.visit)
			}
		}
	})
	return v
}

func (v *visitors) visit() {
	began := time.Now()
	by := answerer(v.addr)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.visits = append(v.visits, visit{began, time.Since(began), by})
}

// leave ends the visits and waits for those under way.
func (v *visitors) leave() []visit {
	close(v.stop)
	v.all.Wait()
	return v.visits
}

// tally says who answered the visits of a span of time, and how long the slowest took.
type tally struct {
	s1, s2, failed int
	slowest        time.Duration
}

// count looks at the visits begun in [from, to).
func count(visits []visit, from, to time.Time) (n tally) {
	for _, v := range visits {
		if v.began.Before(from) || !v.began.Before(to) {
			continue
		}
		n.slowest = max(n.slowest, v.took)
		switch v.by {
		case byS1:
			n.s1++
		case byS2:
			n.s2++
		default:
			n.failed++
		}
	}
	return n
}

// haproxyBackendOverAndBack: s1 dies; it is taken out of the load balancer, s2 answers until s1
// is back and validated, then s1 answers again.
func haproxyBackendOverAndBack(t *testing.T, server *stand.Server) {
	s1 := newDemo(t)
	h := testenv.HAProxy(t, s1.addr, backup(t)+" backup")
	s := play(t, server, "haproxy-over", "\n  - name: s1"+s1.checks()+
		fill(isolateByHAProxy, "socket", h.Socket)+s1.restart()+quick)
	require.Equal(t, byS1, answerer(h.Addr))
	before := s1.pid()
	people := newVisitors(h.Addr)
	killed := s1.kill()

	s.healed("s1", 1, killed, "restart", shivx.RecoverProcess)
	stand.Await(t, patience, "s1 to answer through the load balancer", func(context.Context) bool { return answerer(h.Addr) == byS1 })
	end := time.Now()
	visits := people.leave()
	s1.works(before)

	isolated := s.at(shivx.EventStepDone, "s1", shivx.StepIsolate)
	reintegrating := s.at(shivx.EventStepStarted, "s1", shivx.StepReintegrate)
	reintegrated := s.at(shivx.EventStepDone, "s1", shivx.StepReintegrate)
	gap := count(visits, killed, isolated)
	during := count(visits, isolated, reintegrating)
	t.Logf("isolation gap: s1 dead and still in traffic for %s: %d requests, %d failed, slowest %s; then out of traffic for %s: %d requests, %d failed, slowest %s",
		isolated.Sub(killed).Round(time.Millisecond), gap.s1+gap.s2+gap.failed, gap.failed, gap.slowest.Round(time.Millisecond),
		reintegrated.Sub(isolated).Round(time.Millisecond), during.s1+during.s2+during.failed, during.failed, during.slowest.Round(time.Millisecond))
	require.Zero(t, count(visits, isolated, end).failed, "a request failed while s2 stood in, or after")
	require.Positive(t, during.s2)
	require.Zero(t, during.s1, "s1 answered while it was out of traffic")
	require.Zero(t, count(visits, reintegrated, end).s2, "s1 is back, and s2 is its backup only")
	require.Less(t, isolated.Sub(killed), 10*time.Second)
}

// haproxyFailover: s1 cannot be started any more; the ladder fails over to s2, which was disabled.
func haproxyFailover(t *testing.T, server *stand.Server) {
	s1 := newDemo(t)
	h := testenv.HAProxy(t, s1.addr, backup(t)+" disabled")
	s := play(t, server, "haproxy-failover", fill(`
  - name: shop
    checks:
      - http: {url: <url>}
        timeout: 300ms # HAProxy tries a dead server for seconds
    ladder:
      - name: restart
        use: process
        with: {start: [/bin/false], pid_file: <pid>}
      - name: failover
        use: network
        with: {haproxy: {socket: <socket>, backend: app, server: s1, failover: s2}}
`+quick, "url", "http://"+h.Addr+"/", "pid", s1.pidFile(), "socket", h.Socket))
	killed := s1.kill()

	s.healed("shop", 1, killed, "failover", shivx.RecoverNetwork)
	for range 5 {
		require.Equal(t, byS2, answerer(h.Addr))
	}
	require.False(t, s1.alive())
}

// at is when the ledger says that a step of the component's run began or was done.
func (s *scene) at(event, component string, step shivx.Step) time.Time {
	s.t.Helper()
	for _, r := range s.events(event, component) {
		if r.Step == step {
			return r.Timestamp
		}
	}
	s.t.Fatalf("the ledger has no %s of %s of %s", event, step, component)
	return time.Time{}
}
