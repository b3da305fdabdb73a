package detect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// oracle decides on rates and failures as the rules say it, by going through all events of a source
// each time.
type oracle struct {
	rules  config.ThreatRules
	events map[netip.Prefix][]logs.Event
	told   map[string]told
}

type told struct {
	level int
	since int64
}

func (o *oracle) observe(source netip.Prefix, e logs.Event) (out []string) {
	before := o.figures(source, e.At)
	all := o.events[source]
	if e.Kind == logs.Success {
		kept := all[:0]
		for _, old := range all {
			if old.Kind != logs.Failure || len(e.User) == 0 || string(old.User) != string(e.User) {
				kept = append(kept, old)
			}
		}
		o.events[source] = kept
		return nil
	}
	o.events[source] = append(all, e)
	after := o.figures(source, e.At)
	r := &o.rules
	for i, m := range []struct {
		name              string
		warning, critical int
		window, again     time.Duration
	}{
		{"rate", r.RequestsWarning, r.RequestsCritical, time.Minute, 10 * time.Minute},
		{"burst", r.FailuresWarning, r.FailuresCritical, r.FailureWindow, max(r.FailureWindow, 10*time.Minute)},
		{"slow", math.MaxInt, r.SlowFailures, r.SlowWindow, r.SlowWindow},
		{"spray", math.MaxInt, r.SprayedAccounts, r.SlowWindow, r.SlowWindow},
	} {
		if (m.name == "rate") != (e.Kind == logs.Request) {
			continue
		}
		name := m.name + source.String()
		last := o.told[name]
		age := time.Duration(e.At - last.since)
		if last.level == 2 && (2*before[i] < m.critical || age >= m.window) {
			last.level = 1
		}
		if last.level == 1 && (m.warning == math.MaxInt || 2*before[i] < m.warning || age >= m.again) {
			last.level = 0
		}
		level := 0
		if after[i] >= m.critical {
			level = 2
		} else if after[i] >= m.warning {
			level = 1
		}
		if level > last.level {
			last = told{level, e.At}
			out = append(out, fmt.Sprint(m.name, " ", level, " ", source, " ", after[i]))
		}
		o.told[name] = last
	}
	return out
}

// figures are requests in a minute, failures in both windows, and accounts, at a time.
func (o *oracle) figures(source netip.Prefix, now int64) (f [4]int) {
	accounts := map[string]bool{}
	for _, e := range o.events[source] {
		age := time.Duration(now - e.At)
		switch e.Kind {
		case logs.Request:
			if second(now)-second(e.At) < 60 {
				f[0] += e.Count
			}
		case logs.Failure:
			if age < o.rules.FailureWindow {
				f[1] += e.Count
			}
			if age < o.rules.SlowWindow {
				f[2] += e.Count
				if len(e.User) > 0 {
					accounts[string(e.User)] = true
				}
			}
		default: // successes are not kept
		}
	}
	f[3] = len(accounts)
	return f
}

func TestSlidingWindowsAreThoseOfTheOracle(t *testing.T) {
	total := 0
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		change := func(r *config.ThreatRules) {
			r.RequestsWarning, r.RequestsCritical = 20, 60
			r.SlowFailures, r.SlowWindow = 25, 3*time.Hour
			r.FailuresCritical = 8 + rnd.IntN(8)
			r.NetworkSources = mostCounted
		}
		d := detector(t, change)
		d.maxRecords = 4000 // the oracle forgets nothing either, see makeRoom
		o := &oracle{rules: d.rules, events: map[netip.Prefix][]logs.Event{}, told: map[string]told{}}
		now := at(0)
		pace := time.Duration(1+rnd.IntN(20)) * time.Second
		for range 1500 {
			now += rnd.Int64N(int64(pace)) / 1000 * 1000
			if rnd.IntN(60) == 0 {
				now += rnd.Int64N(int64(40 * time.Minute))
			}
			e := logs.Event{At: now, Count: 1, Addr: netip.AddrFrom4([4]byte{203, 0, 113, byte(rnd.IntN(3))})}
			switch rnd.IntN(10) {
			case 0, 1:
				e.Kind = logs.Failure
			case 2:
				e.Kind = logs.Success
			default:
				e.Kind = logs.Request
			}
			if e.Kind != logs.Request && rnd.IntN(5) > 0 {
				e.User = fmt.Append(nil, "user", rnd.IntN(12))
			}
			if rnd.IntN(20) == 0 {
				e.Count = 1 + rnd.IntN(7)
			}
			want := o.observe(netip.PrefixFrom(e.Addr, 32), e)
			var got []string
			for _, decision := range d.Observe(&e, nil) {
				got = append(got, short(decision))
			}
			require.Equal(t, want, got, "seed %d at %s", seed, time.Unix(0, now).UTC())
			total += len(got)
		}
	}
	require.Greater(t, total, 500, "the streams must pass thresholds")
}

// short is a decision as the oracle writes it.
func short(d Decision) string {
	name, level, figure := "rate", 2, "requests_per_minute"
	switch {
	case strings.HasPrefix(string(d.Type), "brute"):
		name, figure = "burst", "failed_logins"
	case strings.HasPrefix(string(d.Type), "slow"):
		name, figure = "slow", "failed_logins"
	case strings.HasPrefix(string(d.Type), "password"):
		name, figure = "spray", "distinct_accounts"
	}
	if !d.Level.Serious() {
		level = 1
	}
	return fmt.Sprint(name, " ", level, " ", d.Prefix, " ", d.Evidence[figure])
}

// The score is that of its formula, within what whole numbers and the steps of decay lose.
func TestTheScoreIsThatOfItsFormula(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		d := detector(t)
		half := d.rules.ScannerHalfLife
		var points, missed, hits float64
		seen := map[string]bool{}
		now := time.Duration(0)
		for range 400 {
			gone := time.Duration(rnd.Int64N(int64(20 * time.Second)))
			now += gone
			left := math.Exp2(-float64(gone) / float64(half))
			points, missed, hits = points*left, missed*left, hits*left
			path := fmt.Sprint("/", rnd.IntN(40))
			e := request("203.0.113.7", path, 404, now)
			switch rnd.IntN(6) {
			case 0:
				e.Path = fmt.Append(nil, "/.", rnd.IntN(8))
			case 1:
				e.Kind = logs.Probe
				points += float64(d.rules.Weights.Probe)
			case 2:
				e.Status = 200
				hits++
			}
			if e.Kind == logs.Request && e.Status == 404 && !seen[string(e.Path)] {
				seen[string(e.Path)] = true
				if e.Path[1] == '.' {
					points += float64(d.rules.Weights.ProbePath)
				} else {
					missed++
				}
			}
			d.Observe(e, nil)
			share := 0.0
			if missed > 0 {
				share = min(max((2*missed-hits)/(missed+hits), 0), 1)
			}
			want := points + float64(d.rules.Weights.NotFound)*missed*share
			got, ok := d.Look(netip.MustParsePrefix("203.0.113.7/32"))
			require.True(t, ok)
			require.InDelta(t, want, got.Score, 0.3+want*0.005)
		}
	}
}
