package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/forecast/unit"
)

// trackCourse draws the past in one line, with how long it is.
func trackCourse(past []shivx.TrackPoint) string {
	if len(past) < 2 {
		return ""
	}
	m := metricsAnswer{From: past[0].At, To: past[len(past)-1].At}
	long := m.To.Sub(m.From)
	m.Step = (long / courseSteps).Seconds()
	sums, counts := map[int64]float64{}, map[int64]float64{}
	for _, p := range past {
		k := int64(p.At.Sub(m.From).Seconds() / max(m.Step, 1e-9))
		sums[k] += p.Value
		counts[k]++
	}
	var points []metricPoint
	for k := range int64(courseSteps + 1) {
		if counts[k] > 0 {
			points = append(points, metricPoint{At: m.From.Truncate(m.step()).Add(time.Duration(k) * m.step()), Mean: sums[k] / counts[k]})
		}
	}
	return strings.TrimRight(course(points, m), " ") + " over " + coarse(long)
}

// trendWords says where the series goes.
func trendWords(e *explanation, u unit.Unit) string {
	over := min(e.Prediction.Horizon.Std(), pastOf(e.past))
	if over <= 0 {
		return ""
	}
	by := u.Text(math.Abs(e.Slope), 2)
	switch {
	case by == u.Text(0, 2):
		return "flat over the last " + coarse(over)
	case e.Slope > 0:
		return fmt.Sprintf("grows by %s an hour, over the last %s", by, coarse(over))
	}
	return fmt.Sprintf("falls by %s an hour, over the last %s", by, coarse(over))
}

func pastOf(past []shivx.TrackPoint) time.Duration {
	if len(past) == 0 {
		return 0
	}
	return past[len(past)-1].At.Sub(past[0].At)
}

// forecastWords says how probable the failure is.
func forecastWords(p *shivx.Prediction) string {
	s := fmt.Sprintf("reached within %s with a probability of %s", within(p.Horizon), probability(p.Probability))
	if said := probability(p.Raw); said != probability(p.Probability) {
		s += fmt.Sprintf("; the model alone said %s", said)
	}
	return s
}

// reachedWords says when, and how sure that is.
func reachedWords(p *shivx.Prediction) string {
	switch {
	case p.BreachAt.IsZero():
		return "not, if it goes on like this"
	case p.Low.IsZero() || p.High.IsZero():
		return "about " + minute(p.BreachAt, time.Now()) + ", if it goes on like this"
	}
	return fmt.Sprintf("about %s if it goes on like this; then between %s and %s with a probability of 80 %%",
		minute(p.BreachAt, time.Now()), minute(p.Low, p.BreachAt), minute(p.High, p.BreachAt))
}

// precursorTable lists what a forecast rests on.
func precursorTable(p shivx.Prediction, step time.Duration) table {
	t := table{head: []string{"IT RESTS ON", "VALUE", "ODDS", "SERIES"}, free: []int{0, 3}}
	for _, c := range p.Precursors {
		series := c.Series
		if series == p.Series {
			series = ""
		}
		odds := text("")
		if c.Weight != 0 {
			odds = text("× " + strconv.FormatFloat(math.Exp(min(c.Weight, 100)), 'g', 2, 64))
		}
		t.add(text(featureWords(c.Feature, step)), text(featureValue(c, p.Series)), odds, text(series))
	}
	return t
}

// featureValue writes the value of a feature: of those of one series in its unit, of others without.
func featureValue(c shivx.Precursor, series string) string {
	switch c.Feature {
	case "trend", "level", "season":
		return unit.Of(series).Text(c.Value, 2)
	}
	return strconv.FormatFloat(c.Value, 'g', 3, 64)
}

// features are the features of the models in words. In those that end in %s the time goes that they look back.
var features = map[string]string{
	"trend": "its trend, over the horizon", "level": "its level, beside that of the last days", "season": "what this time of the week brings",
	"above-season": "how far it is above what is usual at this time, in deviations",
	"way":          "share of the way to the limit that is behind", "rate": "headrooms that the trend takes within the horizon, over %s",
	"certainty": "how sure the trend is, over %s", "floor": "headrooms that the trend of its lows takes, over %s", "ceiling": "headrooms that the trend of its highs takes, over %s",
	"rise": "share of the way made in the last %s", "rise-all": "share of the way made since its lowest", "unprecedented": "growth beyond any before, over %s",
	"largest-growth": "its largest growth before", "bend": "the trend gets steeper, over %s", "jump": "share of its rise made at once", "jumps": "share of its rise made in three jumps",
	"noise": "change from step to step", "spread": "spread around its trend", "resets": "how often it fell back", "over-peak": "level above its last peaks",
	"peaks": "headrooms that the trend of its peaks takes", "troughs": "headrooms that the trend of its troughs takes", "tooth": "highest rise from a trough",
	"tooth-age": "time since its last trough, beside the usual", "since-peak": "time since its last peak, in horizons", "above": "share of time at the limit",
	"past": "how often the limit was reached within such a time", "headroom": "headroom, in units of its spread", "past-headroom": "how often it was reached from such a level",
	"past-rise": "how often such a rise led there", "past-hour": "how often it was reached at this hour", "yesterday": "yesterday at this time, against the limit",
	"top-day": "highest of the last day, against the limit", "top-hour": "highest of late, against the limit",
	"reach": "horizons until the trend is at the limit", "sure": "how sure the trend gets there within the horizon", "straight": "how long it has been straight, in horizons",
	"horizon": "how far ahead is looked",
}

// featureWords says what a feature is. A number at its end counts steps; without a step it stays as it is.
func featureWords(name string, step time.Duration) string {
	if kind, ok := strings.CutPrefix(name, "anomaly: "); ok {
		return "what is strange: " + kind
	}
	base, number, _ := strings.Cut(name, "-")
	if steps, err := strconv.Atoi(number); err == nil {
		words, known := features[base]
		switch {
		case !known || step <= 0:
			return name
		case strings.Contains(words, "%s"):
			return fmt.Sprintf(words, short(time.Duration(steps)*step))
		}
		return words + ", over " + short(time.Duration(steps)*step)
	}
	if words, ok := features[name]; ok && !strings.Contains(words, "%s") {
		return words
	}
	return name
}

// reliabilityWords says how forecasts came true so far.
func reliabilityWords(r shivx.Reliability) string {
	out := ""
	if r.LeftOut > 0 {
		out = fmt.Sprintf(" %d more do not count, for they were acted upon.", r.LeftOut)
	}
	if r.Outcomes == 0 {
		return "No forecast of this subsystem has come to its end yet: the probability is what the model learned elsewhere." + out
	}
	return fmt.Sprintf("Of this subsystem %s came to their end on this host; what was said was off by %.0f %% in the mean (Brier skill %.2f).%s",
		count(r.Outcomes, "forecast"), 100*r.ECE, r.Skill, out)
}

func reliabilityTable(bins []shivx.ReliabilityBin) table {
	t := table{head: []string{"SAID", "CAME TRUE", "FORECASTS"}}
	for _, b := range bins {
		t.add(text(probability(b.Said)), text(probability(b.Seen)), text(fmt.Sprint(b.Count)))
	}
	return t
}

// tellMitigations prints what the configuration has against the failure.
func (a *app) tellMitigations(e *explanation) {
	if len(e.Mitigations) == 0 {
		a.out.line(normal, "Nothing would be done: forecast.subsystems in the configuration has no mitigations for it.")
		return
	}
	a.out.line(normal, "What would be done, in this order until one helps:")
	for i, m := range e.Mitigations {
		a.out.printf("  %d. %s: %s", i+1, m.Name, mitigationWords(m))
	}
	a.out.line(faint, fmt.Sprintf("shivx mitigate %s --plan says what each would change", e.SubsystemTarget))
}

func mitigationWords(m plannedRule) string {
	s := "by the plugin " + m.Plugin
	if m.Component != "" {
		s = "recover " + m.Component
		if m.Strategy != "" {
			s += " by " + m.Strategy
		}
	}
	if m.When == "quiet" {
		s += ", in the quietest time before the failure"
	}
	if m.Snapshot != "" {
		s += ", after a backup of " + m.Snapshot
	}
	if m.Approvals > 0 {
		s += ", after " + count(m.Approvals, "approval")
	}
	return s
}
