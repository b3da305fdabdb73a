package detect

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// known are the signatures of the tests.
type known struct{}

func (known) ProbePath(p []byte) bool { return bytes.HasPrefix(p, []byte("/.")) }
func (known) Tool(agent []byte) bool  { return bytes.Contains(agent, []byte("nikto")) }

func rules() config.ThreatRules { return config.Default().Guardian.Rules }

func detector(t testing.TB, change ...func(*config.ThreatRules)) *Detector {
	t.Helper()
	r := rules()
	for _, c := range change {
		c(&r)
	}
	d, err := New(Options{Rules: r, Host: "web1", Seed: 1, Signatures: known{}})
	require.NoError(t, err)
	return d
}

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func at(after time.Duration) int64 { return day.Add(after).UnixNano() }

func failure(addr, user string, after time.Duration) *logs.Event {
	return &logs.Event{Kind: logs.Failure, Addr: netip.MustParseAddr(addr), User: []byte(user), At: at(after), Count: 1}
}

func request(addr, path string, status int, after time.Duration) *logs.Event {
	return &logs.Event{
		Kind: logs.Request, Addr: netip.MustParseAddr(addr), Path: []byte(path), Status: status, At: at(after), Count: 1,
	}
}

// types are what was decided, in order, with the time since the day's start.
func types(ds []Decision) string {
	var out []string
	for _, d := range ds {
		out = append(out, string(d.Type)+"@"+d.At.Sub(day).String())
	}
	return strings.Join(out, " ")
}

func TestThresholdsAreThoseOfTheRules(t *testing.T) {
	d := detector(t)
	var got []Decision
	for i := range 12 {
		got = d.Observe(failure("203.0.113.7", "root", time.Duration(i)*time.Second), got)
	}
	require.Equal(t, "brute_force_warning@4s brute_force_critical@9s", types(got))
	require.Equal(t, "threat/web1/brute_force_critical/203.0.113.7/1772323209000000000", got[1].ID)
	require.Equal(t, map[string]any{"failed_logins": 10, "window": "10m0s", "accounts": []string{"root"}}, got[1].Evidence)
}

func TestTightenHalvesEveryThreshold(t *testing.T) {
	d := detector(t)
	d.Tighten(0.5)
	var got []Decision
	for i := range 12 {
		got = d.Observe(failure("203.0.113.7", "root", time.Duration(i)*time.Second), got)
	}
	require.Equal(t, "brute_force_warning@2s brute_force_critical@4s slow_brute_force@9s", types(got))
	for _, factor := range []float64{0, -1, 1e-9} {
		d.Tighten(factor)
		for _, l := range d.limits {
			require.Equal(t, 1, l.critical)
			require.LessOrEqual(t, l.warning, l.critical)
		}
	}
	d.Tighten(7)
	require.Equal(t, rules().FailuresCritical, d.limits[burstMetric].critical, "nothing loosens them")
}

func TestRulesThatCannotBeKeptAreRefused(t *testing.T) {
	for name, change := range map[string]func(*config.ThreatRules){
		"failures_critical": func(r *config.ThreatRules) { r.FailuresCritical = 5000 },
		"slow_window":       func(r *config.ThreatRules) { r.SlowWindow = 3 * 365 * 24 * time.Hour },
		"max_sources":       func(r *config.ThreatRules) { r.MaxSources = 0 },
	} {
		r := rules()
		change(&r)
		_, err := New(Options{Rules: r, Signatures: known{}})
		require.ErrorContains(t, err, name)
	}
}

func TestAWarningAboveTheCriticalThresholdIsLowered(t *testing.T) {
	d := detector(t, func(r *config.ThreatRules) { r.FailuresWarning, r.FailuresCritical = 20, 10 })
	var got []Decision
	for i := range 12 {
		got = d.Observe(failure("203.0.113.7", "root", time.Duration(i)*time.Second), got)
	}
	require.Equal(t, "brute_force_critical@9s", types(got))
}

func TestEventsWithoutAnAddressOrKindDecideNothing(t *testing.T) {
	d := detector(t)
	for range 100 {
		require.Empty(t, d.Observe(&logs.Event{Kind: logs.Failure, At: 1, Count: 50}, nil))
		require.Empty(t, d.Observe(&logs.Event{Addr: netip.MustParseAddr("192.0.2.1"), At: 1, Count: 50}, nil))
	}
	require.Zero(t, d.Stats().Sources)
}

func TestEventsWithoutATimeAreAtTheTimeOfTheOneBefore(t *testing.T) {
	d := detector(t)
	d.Observe(request("192.0.2.1", "/", 200, time.Hour), nil)
	e := failure("203.0.113.7", "root", 0)
	e.At, e.Count = 0, 10
	require.Equal(t, "brute_force_critical@1h0m0s", types(d.Observe(e, nil)))
}

// A time far in the future costs one source its rate and score for sixteen events, not its failures,
// and no other source anything.
func TestOneEventFarInTheFutureIsOvercome(t *testing.T) {
	d := detector(t)
	var got []Decision
	for i := range 9 {
		got = d.Observe(failure("203.0.113.7", "root", time.Duration(i)*time.Second), got[:0])
		d.Observe(failure("203.0.113.8", "root", time.Duration(i)*time.Second), nil)
	}
	wrong := failure("203.0.113.7", "root", 365*24*time.Hour)
	require.Empty(t, d.Observe(wrong, nil))
	require.Equal(t, "brute_force_critical@10s", types(d.Observe(failure("203.0.113.8", "root", 10*time.Second), nil)))
	require.Equal(t, "brute_force_critical@10s", types(d.Observe(failure("203.0.113.7", "root", 10*time.Second), nil)))

	d.Observe(request("198.51.100.1", "/", 200, 365*24*time.Hour), nil)
	got = nil
	for i := range 600 {
		got = d.Observe(request("198.51.100.1", "/", 200, time.Duration(i)*10*time.Millisecond), got)
	}
	require.Equal(t, "rate_limit_warning@1.14s rate_limit_critical@5.14s", types(got), "sixteen events later than without")
}

// However many records a source has, few are kept, and those suffice.
func TestFewRecordsAreKept(t *testing.T) {
	d := detector(t)
	p := netip.MustParsePrefix("203.0.113.7/32")
	var got []Decision
	for i := range 2000 {
		now := time.Duration(i) * time.Minute
		if i%100 == 50 {
			d.Observe(failure("203.0.113.7", "root", now+1000*time.Hour), nil)
		}
		got = d.Observe(failure("203.0.113.7", "root", now), got)
		key, k, _ := keyOfPrefix(p)
		require.LessOrEqual(t, int(d.table.at(d.table.find(key, k)).nrecords), d.maxRecords+recordsBlock)
	}
	require.Equal(t, "brute_force_warning@4m0s brute_force_critical@9m0s", types(got[:2]))
	require.Contains(t, types(got[:6]), "slow_brute_force@19m0s")
}

func TestFailuresToldInAnyOrderAreFound(t *testing.T) {
	d := detector(t)
	var got []Decision
	for _, i := range []int{9, 3, 7, 1, 0, 8, 2, 6, 4, 5} {
		got = d.Observe(failure("203.0.113.7", "root", time.Duration(i)*59*time.Second), got)
	}
	require.Equal(t, "brute_force_warning@0s brute_force_critical@4m55s", types(got))
}

func TestASuccessTakesBackItsOwnAccountAlone(t *testing.T) {
	d := detector(t)
	success := failure("203.0.113.7", "mallory", 0)
	success.Kind = logs.Success
	var got []Decision
	for i := range 40 {
		now := time.Duration(i) * 30 * time.Second
		got = d.Observe(failure("203.0.113.7", "root", now), got)
		got = d.Observe(failure("203.0.113.7", "", now), got)
		success.At = at(now)
		got = d.Observe(success, got)
	}
	require.Contains(t, types(got), "brute_force_critical")
	require.Contains(t, types(got), "slow_brute_force")

	d = detector(t)
	for i := range 500 { // people who mistype and then log in
		user, now := string(rune('a'+i%26)), time.Duration(i)*10*time.Second
		require.Empty(t, d.Observe(failure("203.0.113.7", user, now), nil))
		ok := failure("203.0.113.7", user, now+time.Second)
		ok.Kind = logs.Success
		require.Empty(t, d.Observe(ok, nil))
	}
	seen, found := d.Look(netip.MustParsePrefix("203.0.113.0/24"))
	require.True(t, found)
	require.Zero(t, seen.Failures)
}

func TestACrowdThatLogsInClearsItsNetwork(t *testing.T) {
	count := func(success bool) string {
		d := detector(t)
		var got []Decision
		for i := range 60 {
			addr := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}).String()
			now := time.Duration(i) * time.Minute
			if i%2 == 0 || !success {
				for range badTries {
					got = d.Observe(failure(addr, "user", now), got)
				}
				continue
			}
			e := failure(addr, "user", now)
			e.Kind = logs.Success
			got = d.Observe(e, got)
		}
		return types(got)
	}
	require.Empty(t, count(true))
	require.Equal(t, "network_attack_warning@9m0s network_attack_critical@19m0s", count(false))
}

func TestAPathIsAProbeOnlyWhereThereIsNoSuchThing(t *testing.T) {
	d := detector(t)
	for i := range 50 {
		require.Empty(t, d.Observe(request("203.0.113.7", "/.well-known/"+string(rune('a'+i)), 200, time.Duration(i)*time.Second), nil))
	}
	var got []Decision
	for i, path := range []string{"/.env", "/.env", "/.git/config", "/.aws"} {
		got = d.Observe(request("203.0.113.8", path, 404, time.Duration(i)*time.Second), got)
	}
	got = d.Observe(request("203.0.113.8", "/.ssh", 404, time.Minute), got)
	require.Equal(t, "scanner_warning@2s", types(got), "the same path counts once, and the fourth comes as the first has faded")
	got = d.Observe(request("203.0.113.8", "/.svn", 0, 61*time.Second), nil)
	require.Equal(t, "scanner_critical@1m1s", types(got))
}

func TestNothingIsToldTwiceBeforeItHasFallenByHalfOrTheWindowIsOver(t *testing.T) {
	d := detector(t)
	minuteOf := func(from time.Duration, n int) (got []Decision) {
		for i := range n {
			got = d.Observe(request("203.0.113.7", "/", 200, from+time.Duration(i)*time.Minute/time.Duration(n)), got)
		}
		return got
	}
	require.Equal(t, "rate_limit_warning@59.4s", types(minuteOf(0, 100)))
	for i := 1; i < 10; i++ {
		require.Empty(t, minuteOf(time.Duration(i)*time.Minute, 120), "minute %d", i)
	}
	require.Contains(t, types(minuteOf(11*time.Minute, 120)), "rate_limit_warning", "after a pause it counts anew")
	got := types(minuteOf(12*time.Minute, 2000))
	require.Equal(t, 1, strings.Count(got, "rate_limit_critical"))
	got = types(minuteOf(13*time.Minute, 2000))
	require.Equal(t, 1, strings.Count(got, "rate_limit_critical"), "it goes on: once a minute")
}

func TestUnpinForgets(t *testing.T) {
	d := detector(t)
	p := netip.MustParsePrefix("203.0.113.7/32")
	for i := range 9 {
		d.Observe(failure("203.0.113.7", "root", time.Duration(i)*time.Second), nil)
	}
	network, _ := d.Look(netip.MustParsePrefix("203.0.113.0/24"))
	require.Equal(t, 1, network.Failures)
	require.True(t, d.Pin(p))
	seen, ok := d.Look(p)
	require.True(t, ok)
	require.Equal(t, 9, seen.Failures)
	require.Equal(t, "203.0.113.7", d.Top(1)[0].Source)
	d.Unpin(p)
	_, ok = d.Look(p)
	require.False(t, ok)
	require.Empty(t, d.Observe(failure("203.0.113.7", "root", 10*time.Second), nil))
	network, _ = d.Look(netip.MustParsePrefix("203.0.113.0/24"))
	require.Zero(t, network.Failures)
	require.False(t, d.Pin(netip.MustParsePrefix("203.0.0.0/16")), "not counted")
}
