package api

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

const firing = `{"version":"4","status":"firing","alerts":[
 {"status":"firing","labels":{"alertname":"RedisDown","component":"redis","severity":"critical"},
  "annotations":{"summary":"redis is away"},"startsAt":"2026-01-01T00:00:00Z","fingerprint":"f1"},
 {"status":"firing","labels":{"alertname":"WebDown","env":"prod"},"startsAt":"2026-01-01T00:00:00Z","fingerprint":"f2"},
 {"status":"firing","labels":{"alertname":"WebDown","env":"test"},"startsAt":"2026-01-01T00:00:00Z","fingerprint":"f3"}]}`

func TestAlertsBecomeFindings(t *testing.T) {
	s := newStand(t)
	rec := s.do("POST", "/api/alerts", s.admin, firing)
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	require.JSONEq(t, `{"accepted":["redis","web"],"unmatched":["WebDown"]}`, rec.Body.String())
	require.Len(t, s.got, 2)
	f := s.got[0]
	require.Equal(t, shivx.Target{Component: "redis", Host: "h1"}, f.Target)
	require.Equal(t, shivx.SourceAlert, f.Source)
	require.Equal(t, shivx.SeverityCritical, f.Severity)
	require.Equal(t, "alert RedisDown firing: redis is away", f.Reason)
	require.False(t, f.Resolved)

	s.do("POST", "/api/alerts", s.admin, firing)
	require.Equal(t, s.got[0].ID, s.got[2].ID, "the same alert from a second Alertmanager has the same id")
	s.do("POST", "/api/alerts", s.admin, strings.ReplaceAll(firing, `"status":"firing"`, `"status":"resolved"`))
	require.True(t, s.got[4].Resolved)
	require.NotEqual(t, s.got[0].ID, s.got[4].ID)
}

func TestLateAlertIsNotANewFault(t *testing.T) {
	s := newStand(t)
	began := func(ago time.Duration) string {
		return strings.ReplaceAll(firing, "2026-01-01T00:00:00Z", s.now().Add(-ago).UTC().Format(time.RFC3339))
	}
	s.do("POST", "/api/alerts", s.admin, began(30*time.Second))
	require.WithinDuration(t, s.now().Add(-30*time.Second), s.got[0].ObservedAt, 0, "it saw the fault when it began")
	s.do("POST", "/api/alerts", s.admin, began(time.Hour))
	require.WithinDuration(t, s.now(), s.got[2].ObservedAt, 0, "one that still fires sees it now")
}

func TestAlertThatIsNotRecordedIsAskedForAgain(t *testing.T) {
	s := newStand(t)
	s.fail = errors.New("disk full")
	require.Equal(t, http.StatusServiceUnavailable, s.do("POST", "/api/alerts", s.admin, firing).Code)
}

func TestOneAlertThatFailsDoesNotHoldUpTheOthers(t *testing.T) {
	s := newStand(t)
	s.fail, s.failOn = errors.New("refused"), "RedisDown"
	require.Equal(t, http.StatusServiceUnavailable, s.do("POST", "/api/alerts", s.admin, firing).Code)
	require.Len(t, s.got, 1, "the alert after the one that failed is taken")
	require.Equal(t, "WebDown", s.got[0].Signal)
}

func TestHugeTextsAreCut(t *testing.T) {
	s := newStand(t)
	long := strings.Repeat("ü", 250_000)
	body := strings.NewReplacer("RedisDown", "N"+long, "redis is away", long, `"f1"`, `"`+long+`"`).Replace(firing)
	require.Equal(t, http.StatusOK, s.do("POST", "/api/alerts", s.admin, body).Code)
	f := s.got[0]
	require.LessOrEqual(t, len(f.Reason), maxReason)
	require.LessOrEqual(t, len(f.Signal), maxAlertName)
	require.Less(t, len(f.ID), 256)
	require.True(t, utf8.ValidString(f.Reason+f.Signal+f.ID), "cut inside a character")
	require.Contains(t, f.Reason, "firing: ü", "the summary is kept as far as it goes")
}

func TestAlertOfAnotherHostIsLeftToItsAgent(t *testing.T) {
	machine, err := os.Hostname()
	require.NoError(t, err)
	short, _, _ := strings.Cut(machine, ".")
	s := newStand(t)
	for _, c := range []struct {
		labels map[string]string
		here   bool
	}{
		{nil, true},
		{map[string]string{"host": "h1"}, true},
		{map[string]string{"host": "H1.example.org"}, true},
		{map[string]string{"host": machine}, true},
		{map[string]string{"nodename": short}, true},
		{map[string]string{"instance": "h1:9100"}, true},
		{map[string]string{"instance": "127.0.0.1:9100"}, true},
		{map[string]string{"instance": "[::1]:9100"}, true},
		{map[string]string{"instance": "http://localhost:9471/health"}, true},
		{map[string]string{"host": "h1", "instance": "exporter:9100"}, true},
		{map[string]string{"host": "h2"}, false},
		{map[string]string{"host": "h11"}, false},
		{map[string]string{"nodename": "h2.example.org"}, false},
		{map[string]string{"instance": "h2:9100"}, false},
		{map[string]string{"instance": "h2"}, false},
		{map[string]string{"instance": "192.0.2.7:9100"}, false},
		{map[string]string{"instance": "https://shop.example.org/"}, false},
		{map[string]string{"host": "h2", "instance": "h1:9100"}, false},
	} {
		labels := map[string]string{"component": "redis", "alertname": "RedisDown"}
		maps.Copy(labels, c.labels)
		_, ok := s.component(labels)
		require.Equal(t, c.here, ok, "%v", c.labels)
	}
	_, ok := s.component(map[string]string{"alertname": "WebDown", "env": "prod", "instance": "h2:9100"})
	require.True(t, ok, "what a configured entry matches is taken as it is")
}

func TestBadWebhooksAreRefused(t *testing.T) {
	s := newStand(t)
	for name, body := range map[string]string{
		"not JSON": "hello", "empty": "", "version 3": `{"version":"3"}`, "a list": `[]`,
		"too large": `{"version":"4","x":"` + strings.Repeat("a", maxAlerts) + `"}`,
	} {
		rec := s.do("POST", "/api/alerts", s.admin, body)
		require.Equal(t, http.StatusBadRequest, rec.Code, name)
		require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"), name)
	}
	require.Empty(t, s.got)
}
