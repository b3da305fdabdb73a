package crash_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/test/stand"
)

// TestKilledWhileRecording kills the agent while many alerts are being recorded. Every alert it
// has acknowledged is in the ledger afterwards, and the ledger verifies.
func TestKilledWhileRecording(t *testing.T) {
	kills := 8
	if short() {
		kills = 3
	}
	svc := newService(t)
	svc.write("up", "", 0o644)
	api := fmt.Sprintf("127.0.0.1:%d", stand.FreePort(t))
	yaml := strings.Replace(svc.config("outbox", svc.rung("first", "tells")), `{listen: "off"}`, `{listen: "`+api+`"}`, 1)
	h := newHouse(t)
	s := h.agent(t, "svc", "outbox", "", yaml)
	s.awaitReady()
	sent := &alertSender{url: "http://" + api + "/api/alerts", tokenFile: filepath.Join(s.agent.Var, "api.token")}
	for range kills {
		sent.storm(t, 8, func() {
			stand.Await(t, patience, "alerts to be recorded", func(context.Context) bool { return sent.fresh() > 50 })
			s.agent.Kill()
		})
	}
	s.agentKeeper.end()
	s.agent.Kill()
	tearTail(t, s.agent.Ledger())
	s.agent.Start()
	stand.Await(t, patience, "the agent to repair its ledger and go on", func(context.Context) bool {
		return sent.post("last") == nil
	})
	recorded := map[string]bool{}
	for _, r := range s.agent.Records() {
		if r.EventType == shivx.EventResolved {
			recorded[r.Message] = true
		}
	}
	for _, name := range sent.acknowledged() {
		require.True(t, recorded["alert "+name+" resolved: no summary"], "%s was acknowledged and is lost", name)
	}
	t.Logf("%d alerts acknowledged over %d kills", len(sent.acknowledged()), kills)
	s.agent.VerifyLedger()
}

// tearTail leaves half a record at the end of the ledger, as a kill in the middle of a write does.
func tearTail(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"event_id":"torn","timestamp":"2024-06-11T12:00:00Z","event_ty`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	report, err := ledger.Verify(context.Background(), path, ledger.VerifyOptions{})
	require.NoError(t, err)
	require.NotNil(t, report.Torn, "a torn tail is told")
	require.True(t, report.OK, "and told apart from an attack: %+v", report.Findings)
}

// alertSender sends alerts as Alertmanager does and remembers which were acknowledged.
type alertSender struct {
	url, tokenFile string

	mu    sync.Mutex
	next  int
	acked []string
	seen  int
}

// storm sends from n senders until during has returned.
func (a *alertSender) storm(t *testing.T, n int, during func()) {
	t.Helper()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a.mu.Lock()
				a.next++
				name := fmt.Sprintf("A%d", a.next)
				a.mu.Unlock()
				if a.post(name) != nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	during()
	close(stop)
	all.Wait()
}

// post sends one alert; nil means that it was acknowledged.
func (a *alertSender) post(name string) error {
	token, err := os.ReadFile(a.tokenFile)
	if err != nil {
		return err
	}
	body := fmt.Sprintf(`{"version":"4","alerts":[{"status":"resolved","labels":{"alertname":%q,"component":"svc"},"fingerprint":%q,"startsAt":"2024-06-11T12:00:00Z"}]}`, name, name)
	req, err := http.NewRequest(http.MethodPost, a.url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acked = append(a.acked, name)
	return nil
}

// fresh says how many alerts were acknowledged since it last said more than 50.
func (a *alertSender) fresh() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.acked) - a.seen
	if n > 50 {
		a.seen = len(a.acked)
	}
	return n
}

func (a *alertSender) acknowledged() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.acked...)
}
