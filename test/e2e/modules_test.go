package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/resilience"
	"github.com/shivx/shivx/test/stand"
)

// The tokens of the preamble.
const (
	appToken      = "token-of-the-app"
	viewerToken   = "token-of-the-viewer"
	operatorToken = "token-of-the-operator"
)

// modulesAlone lets nothing count for the score but modules.
const modulesAlone = `
resilience:
  monitor: {every: 250ms, record_every: 1s, mounts: [/no/such/*]}
  levels: {up_after: 1s, max_up_after: 2s}` + stand.DiskAlone

// sendHeartbeats is the life of a program, which the test program plays: it writes down its
// process id in its folder and tells the agent that it is well, until it is ended.
func sendHeartbeats(dir string) {
	url, err := os.ReadFile(filepath.Join(dir, "url"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(os.Getpid())), 0o600)
	}
	for err == nil {
		req, _ := http.NewRequest(http.MethodPut, string(url), nil)
		req.Header.Set("Authorization", "Bearer "+appToken)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
		time.Sleep(100 * time.Millisecond) // the pace of its heart
	}
	fmt.Fprintln(os.Stderr, err)
}

// heartbeatLost: a program hangs. Its process is there, but its heartbeats stop: it is restarted by
// the component's ladder, which its module counts.
func heartbeatLost(t *testing.T, server *stand.Server) {
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	pid := func() int {
		b, _ := os.ReadFile(filepath.Join(dir, "pid"))
		n, _ := strconv.Atoi(string(b))
		return n
	}
	t.Cleanup(func() {
		if n := pid(); n > 0 {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	})
	s := agentOf(t, server, "heartbeat-lost", "e2e-heartbeat-lost", fill(`
  - name: worker
    critical: true
    failures: 1
    checks: [{heartbeat: {lease: 2s}}]
    ladder:
      - name: restart
        use: process
        with: {start: <argv>, pid_file: <pid>, stop_timeout: 500ms}
`+quick, "argv", []string{self, "heartbeats", dir}, "pid", filepath.Join(dir, "pid"))+modulesAlone)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "url"), []byte("http://"+s.api+"/api/modules/worker/heartbeat"), 0o600))
	// Nobody has started it: that is the first thing the agent heals.
	s.healed("worker", 1, time.Now(), "restart", shivx.RecoverProcess)
	s.awaitModule("worker", "healthy and restarted once", func(m resilience.Module, r resilience.Status) bool {
		return m.State == "healthy" && m.Restarts == 1 && m.Critical && !m.Registered && r.Score.Value == 100
	})
	s.awaitQuiet("worker")

	before, hung := pid(), time.Now()
	require.NoError(t, syscall.Kill(before, syscall.SIGSTOP))
	s.healed("worker", 2, hung, "restart", shivx.RecoverProcess)
	require.NotEqual(t, before, pid())
	require.Error(t, syscall.Kill(before, 0), "the hung process is gone")
	m := s.awaitModule("worker", "restarted twice", func(m resilience.Module, _ resilience.Status) bool {
		return m.State == "healthy" && m.Restarts == 2
	})
	require.Regexp(t, `^heartbeat: no heartbeat for \d\.\d+s; the lease is 2s$`, m.LastError)
	s.awaitQuiet("worker")
	restarts := s.auditOf(shivx.EventRestart, "worker")
	require.Len(t, restarts, 2)
	require.Equal(t, "restart", restarts[1]["strategy"])
	require.Equal(t, string(shivx.OutcomeHealed), restarts[1]["outcome"])
	s.agrees()
}

// registersItself: a program registers itself and sends heartbeats; they stop, people are told; they
// return, it is in service again. A restart of the agent is no fault of the program.
func registersItself(t *testing.T, server *stand.Server) {
	letters := filepath.Join(t.TempDir(), "letters")
	s := agentOf(t, server, "registers", "e2e-registers", " []"+modulesAlone+fill(`
notify:
  - command: {argv: [sh, -c, <write>]}
`, "write", "cat >> "+letters+"; echo >> "+letters))
	s.awaitLevel("the agent to be up", func(resilience.Status) bool { return true })
	register := `{"name": "shop", "critical": true, "lease": "2s"}`
	require.Equal(t, http.StatusUnauthorized, s.ask(http.MethodPost, "/api/modules", "", register))
	require.Equal(t, http.StatusNotFound, s.ask(http.MethodPut, "/api/modules/shop/heartbeat", appToken, ""))
	require.Equal(t, http.StatusNoContent, s.ask(http.MethodPost, "/api/modules", appToken, register))
	stop := s.beat("shop")
	well := func(m resilience.Module, r resilience.Status) bool {
		return m.State == "healthy" && m.Score == 100 && m.Critical && m.Registered && r.Score.Value == 100 && r.Level == shivx.LevelNormal
	}
	s.awaitModule("shop", "well", well)

	stop()
	silent := time.Now()
	s.awaitModule("shop", "in a fault that costs two levels", func(m resilience.Module, r resilience.Status) bool {
		return m.State == "failing" && m.Score == 0 && strings.HasPrefix(m.LastError, "heartbeat: no heartbeat for ") &&
			r.Score.Value == 60 && r.Score.Terms[0].Name == "module shop" && r.Level == shivx.Level2
	})
	fault := s.event(shivx.EventFault, "shop")
	require.Greater(t, fault.Timestamp.Sub(silent), 1500*time.Millisecond, "the lease of the last heartbeat")
	t.Logf("last heartbeat → fault %s", fault.Timestamp.Sub(silent).Round(time.Millisecond))
	letter := readLetter(t, letters)
	require.Equal(t, s.target("shop"), letter.Target)
	require.Contains(t, letter.Message, "heartbeat: no heartbeat for ", "people are told what is wrong, not what was tried")
	require.Contains(t, letter.Hint, "repair it")

	stop = s.beat("shop")
	s.awaitModule("shop", "well again", well)
	s.AwaitRecord(patience, "the end of the fault", func(r shivx.RecoveryRecord) bool {
		return r.EventType == shivx.EventResolved && r.Component == "shop"
	})
	stand.Await(t, patience, "shop to be in service again", func(ctx context.Context) bool {
		e, err := s.queryEntity(ctx, "shop")
		return err == nil && e.Holder == nil && !e.Escalated && !e.Verify && len(e.Pending) == 0
	})

	// The agent is killed, and away for longer than the lease. The program goes on.
	s.Kill()
	time.Sleep(2500 * time.Millisecond)
	s.Start()
	s.awaitModule("shop", "well after a restart of the agent", well)
	s.awaitQuiet("shop")
	require.Len(t, s.events(shivx.EventFault, "shop"), 1, "a restart of the agent is no fault")
	require.Len(t, lines(t, letters), 1, "people were told once")

	require.Len(t, s.agrees(), 3, "down to LEVEL_2, up by LEVEL_1 and to NORMAL")
	stop()
	s.removesModule("shop")
	s.refusesRoles()
}

// removesModule has a module removed by who may do it.
func (s *scene) removesModule(name string) {
	t, path := s.t, "/api/modules/"+name
	t.Helper()
	require.Equal(t, http.StatusForbidden, s.ask(http.MethodDelete, path, viewerToken, ""))
	require.Equal(t, http.StatusNoContent, s.ask(http.MethodDelete, path, appToken, ""), "a program that ends in good order")
	require.Equal(t, http.StatusNotFound, s.ask(http.MethodPut, path+"/heartbeat", appToken, ""))
	s.awaitLevel("no module to be left", func(r resilience.Status) bool { return len(r.Modules) == 0 && r.Score.Value == 100 })
	require.Len(t, s.auditOf(shivx.EventModuleRegistered, name), 1)
	require.Len(t, s.auditOf(shivx.EventModuleRemoved, name), 1)
	require.Len(t, s.events(shivx.EventFault, name), 1)
	s.VerifyLedger()
}

// refusesRoles asks for what a role may not do: it is refused, and leaves nothing behind.
func (s *scene) refusesRoles() {
	t := s.t
	t.Helper()
	before := len(s.agrees())
	for _, r := range [][3]string{
		{http.MethodGet, "/api/resilience/status", appToken}, {http.MethodGet, "/api/modules", appToken},
		{http.MethodPut, "/api/modules/till/heartbeat", appToken}, {http.MethodDelete, "/api/modules/till", appToken},
		{http.MethodPost, "/api/alerts", appToken}, {http.MethodPost, "/api/alerts", viewerToken},
		{http.MethodPost, "/api/resilience/override", appToken}, {http.MethodPost, "/api/resilience/override", viewerToken},
		{http.MethodDelete, "/api/resilience/override", viewerToken},
	} {
		require.Equal(t, http.StatusForbidden, s.ask(r[0], r[1], r[2], `{"level": "EMERGENCY", "for": "1m", "why": "no"}`), r)
	}
	require.Len(t, s.agrees(), before)
}

// ask makes a request and returns the status of its answer.
func (s *scene) ask(method, path, token, body string) int {
	s.t.Helper()
	resp, err := s.request(method, path, token, body)
	require.NoError(s.t, err)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// beat sends heartbeats of a module until the function it returns is called.
func (s *scene) beat(module string) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			if resp, err := s.request(http.MethodPut, "/api/modules/"+module+"/heartbeat", appToken, ""); err == nil {
				_ = resp.Body.Close()
			}
			select {
			case <-end:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(end); <-ended })
	s.t.Cleanup(stop)
	return stop
}

// awaitModule waits until a module is what is wanted.
func (s *scene) awaitModule(name, what string, ok func(resilience.Module, resilience.Status) bool) (last resilience.Module) {
	s.t.Helper()
	s.awaitLevel(name+" to be "+what, func(r resilience.Status) bool {
		for _, m := range r.Modules {
			if m.Name == name {
				last = m
				return ok(m, r)
			}
		}
		return false
	})
	return last
}

// auditOf returns the details of the events about a module in the audit.
func (s *scene) auditOf(event, module string) (out []map[string]any) {
	s.t.Helper()
	for _, r := range s.AuditRecords() {
		if r.EventType == event && r.Module == module {
			var details map[string]any
			require.NoError(s.t, json.Unmarshal(r.Details.(json.RawMessage), &details))
			out = append(out, details)
		}
	}
	return out
}
