package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// webhook is what Alertmanager 0.27 posts, with every field it sends.
const webhook = `{
  "receiver": "shivx", "status": "%[1]s",
  "alerts": [{
    "status": "%[1]s",
    "labels": {"alertname": "ShopSlow", "instance": "127.0.0.1:9471", "job": "shop", "service": "shop", "severity": "critical"},
    "annotations": {"summary": "the shop answers slowly", "runbook_url": "https://example.org/runbooks/shop"},
    "startsAt": "%[2]s", "endsAt": "%[3]s",
    "generatorURL": "http://prometheus:9090/graph?g0.expr=up", "fingerprint": "b2f5f2c7d2a3c1e8"
  }],
  "groupLabels": {"alertname": "ShopSlow"},
  "commonLabels": {"alertname": "ShopSlow", "instance": "127.0.0.1:9471", "job": "shop", "service": "shop", "severity": "critical"},
  "commonAnnotations": {"summary": "the shop answers slowly", "runbook_url": "https://example.org/runbooks/shop"},
  "externalURL": "http://alertmanager:9093", "version": "4",
  "groupKey": "{}:{alertname=\"ShopSlow\"}", "truncatedAlerts": 0
}`

// post sends the alert and returns the status and the body of the answer.
func (s *scene) post(token, state string, since time.Time) (int, string) {
	s.t.Helper()
	ends := "0001-01-01T00:00:00Z"
	if state == "resolved" {
		ends = time.Now().UTC().Format(time.RFC3339Nano)
	}
	resp, err := s.request(http.MethodPost, "/api/alerts", token, fmt.Sprintf(webhook, state, since.UTC().Format(time.RFC3339Nano), ends))
	require.NoError(s.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(body)
}

// accepted posts the alert, which must be taken.
func (s *scene) accepted(state string, since time.Time) {
	s.t.Helper()
	code, body := s.post(s.token(), state, since)
	require.Equal(s.t, http.StatusOK, code, body)
	require.Contains(s.t, body, `"accepted":["shop"]`)
}

const ourAlert = `
    alerts: [{service: shop, alertname: ShopSlow}]`

// alertFires: an alert alone starts a run; three posts of it together with a process exit and
// failing checks start one.
func alertFires(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	s := play(t, server, "alert-fires", d.component("shop")+ourAlert)
	code, _ := s.post("", "firing", time.Now())
	require.Equal(t, http.StatusUnauthorized, code)
	code, _ = s.post("not-the-token", "firing", time.Now())
	require.Equal(t, http.StatusUnauthorized, code)
	require.Empty(t, s.events(shivx.EventFault, "shop"), "a request without the token left something behind")

	before, posted := d.pid(), time.Now()
	s.accepted("firing", posted)
	s.healed("shop", 1, posted, "restart", shivx.RecoverProcess)
	d.works(before)
	require.Equal(t, shivx.EventFault, s.event(shivx.EventFault, "shop").EventType)
	s.awaitQuiet("shop")

	before = d.pid()
	killed := d.kill()
	for range 3 {
		s.accepted("firing", killed)
	}
	s.healed("shop", 2, killed, "restart", shivx.RecoverProcess)
	d.works(before)
	state := s.awaitQuiet("shop")
	require.Len(t, s.runs("shop"), 2, "the alert and the sensors told of the same fault")
	require.Len(t, state.Heals, 2)
}

// alertResolves: the alert resolves while the run waits for approval. The run stops, puts the
// backend back into traffic and verifies.
func alertResolves(t *testing.T, server *stand.Server) {
	d := newDemo(t)
	h := testenv.HAProxy(t, d.addr, backup(t)+" backup")
	s := play(t, server, "alert-resolves", "\n  - name: shop"+ourAlert+d.checks()+fill(isolateByHAProxy, "socket", h.Socket)+
		d.restart()+"        approval: {required: 1}\n"+quick)
	before, posted := d.pid(), time.Now()
	s.accepted("firing", posted)
	id := shivx.SelfHealID(s.target("shop"))
	s.awaitRun(id, "the run to wait for approval", func(r workflows.SelfHealStatus) bool { return r.Approval != nil })
	require.Equal(t, byS2, answerer(h.Addr), "isolated while it waits")

	resolved := time.Now()
	s.accepted("resolved", posted)
	r := s.AwaitRecovery("shop", 1, patience)
	t.Logf("shop: resolved → recovery record %s", r.Timestamp.Sub(resolved).Round(time.Millisecond))
	require.Equal(t, shivx.OutcomeResolved, r.Outcome, r.Message)
	stand.Await(t, patience, "s1 to be back in traffic", func(context.Context) bool { return answerer(h.Addr) == byS1 })
	require.Equal(t, before, d.pid(), "nothing was restarted")
	validated := false
	for _, step := range steps(t, r) {
		validated = validated || step["step"] == "validate" && step["state"] == "done"
	}
	require.True(t, validated, "a fault that resolved by itself is verified")
	s.awaitQuiet("shop")
	require.Len(t, s.runs("shop"), 1)
	s.VerifyLedger()
}

// steps are those that a run's record lists.
func steps(t *testing.T, r shivx.RecoveryRecord) (out []map[string]any) {
	t.Helper()
	list, ok := r.Details.(map[string]any)["steps"].([]any)
	require.True(t, ok, "the record lists no steps")
	for _, s := range list {
		out = append(out, s.(map[string]any))
	}
	return out
}
