package detect

import (
	"fmt"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

// threat is how a figure is told of.
type threat struct {
	warning, critical shivx.ThreatType
	// what was counted, after its number.
	what string
}

func threatOf(m metric) threat {
	switch m {
	case rateMetric:
		return threat{shivx.ThreatRateWarning, shivx.ThreatRateCritical, "requests within a minute"}
	case burstMetric:
		return threat{shivx.ThreatBruteForceWarning, shivx.ThreatBruteForceCritical, "failed logins within %s"}
	case slowMetric:
		return threat{critical: shivx.ThreatSlowBruteForce, what: "failed logins within %s"}
	case sprayMetric:
		return threat{critical: shivx.ThreatSpraying, what: "accounts with failed logins within %s"}
	case scanMetric:
		return threat{shivx.ThreatScannerWarning, shivx.ThreatScannerCritical, "points for the behaviour of a scanner"}
	default:
		return threat{shivx.ThreatNetworkWarning, shivx.ThreatNetworkCritical, "more sources that keep failing or probing than log in within %s"}
	}
}

// decide tells of a threshold that an entry has passed by an event.
func (d *Detector) decide(s *sight, e *entry, m metric, level, n int, evidence map[string]any) {
	told, l := threatOf(m), &d.limits[m]
	kind, grade, threshold := told.critical, shivx.ThreatHigh, l.critical
	if level == warned {
		kind, grade, threshold = told.warning, shivx.ThreatMedium, l.warning
	}
	what := told.what
	if strings.Contains(what, "%s") {
		what = fmt.Sprintf(what, l.window)
	}
	p := e.prefix()
	source := shivx.SourceString(p)
	d.out = append(d.out, Decision{Prefix: p, Threat: shivx.Threat{
		ID:   fmt.Sprintf("threat/%s/%s/%s/%d", d.host, kind, source, s.at),
		Host: d.host, Type: kind, Level: grade, Source: source,
		Reason:   fmt.Sprintf("%s: %d %s, the threshold is %d", source, n, what, threshold),
		Evidence: evidence, At: time.Unix(0, s.at).UTC(),
	}})
}

// textMax is how much of a client's text is shown.
const textMax = 120

// text is what a client sent, as people may be shown it.
func text(b []byte) string {
	return strings.ToValidUTF8(string(b[:min(len(b), textMax)]), "")
}
