package config

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	clockPattern  = regexp.MustCompile(`^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`)
	metricPattern = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
)

func checkClock(text, _ string) (string, string, string) {
	if clockPattern.MatchString(text) {
		return text, "", ""
	}
	return text, fmt.Sprintf("%q is no time of day", masked(text)), "write it as \"09:00\", up to \"24:00\""
}

func checkMetric(text, _ string) (string, string, string) {
	if metricPattern.MatchString(text) {
		return text, "", ""
	}
	return text, fmt.Sprintf("%q is no name of a metric", masked(text)), "write a name alone, such as shivx_host_cpu_used_ratio; labels go to \"match\""
}

func checkBelow(text, _ string) (string, string, string) {
	clean := strings.TrimPrefix(path.Clean("/"+text), "/")
	if clean == "" || slices.Contains(strings.Split(text, "/"), "..") {
		return text, fmt.Sprintf("%q is no path below the root", masked(text)), "write it as system.slice/shop.service"
	}
	return clean, "", ""
}

// checkForecast checks what concerns more than one key of the section, then adds the subsystems of the host.
func (d *decoder) checkForecast() {
	f := &d.cfg.Forecast
	d.checkCosts(&f.Costs)
	if !d.has(&f.Subsystems) {
		return
	}
	seen := d.names()
	for i := range f.Subsystems {
		s := &f.Subsystems[i]
		seen.add(&s.Name, s.Name, "subsystem")
		d.checkSubsystem(s)
	}
	f.Subsystems = withHost(f.Subsystems, f.Every)
}

func (d *decoder) checkCosts(c *ForecastCosts) {
	const most = 100
	if c.Look < c.Prepare && c.Prepare < c.Act && c.Act < most {
		return
	}
	d.add(d.at(c), fmt.Sprintf("the costs do not rise below %d: look %g, prepare %g, act %g", most, c.Look, c.Prepare, c.Act),
		"write each cost higher than the one before and all below 100, which is what a failure costs")
}

func (d *decoder) checkSubsystem(s *Subsystem) {
	switch place := d.atEither(&s.Name, s); {
	case s.Name == "":
		return
	case s.Model == "" && !d.has(&s.Model):
		d.add(place, "the subsystem has no model", "write model: exhaustion, spike or degradation")
	case len(s.Series) == 0:
		d.add(place, "the subsystem has no series", "write series: [{history: NAME}], or another kind of series")
	}
	if s.Step > 0 && s.Step < shortestStep {
		d.add(d.atEither(&s.Step, &s.Horizon), fmt.Sprintf("a step of %s is shorter than what is measured", s.Step), "give a step of 100ms or more")
	}
	if s.Step > 0 && (s.Horizon < leastSteps*s.Step || s.Horizon > mostSteps*s.Step) {
		d.add(d.atEither(&s.Step, &s.Horizon), fmt.Sprintf("a horizon of %s has %.3g steps of %s", s.Horizon, float64(s.Horizon)/float64(s.Step), s.Step),
			fmt.Sprintf("give a step of %s to %s", s.Horizon/mostSteps, s.Horizon/leastSteps))
	}
	shares := 0
	for i := range s.Series {
		d.checkSeries(s, &s.Series[i])
		if s.Series[i].Share() {
			shares++
		}
	}
	switch {
	case shares > 0 && shares < len(s.Series):
		d.add(d.at(&s.Series), "shares and series in their own unit stand beside each other", "one capacity holds for all: make two subsystems of it")
	case shares > 0 && s.Capacity > 1:
		d.add(d.at(&s.Capacity), fmt.Sprintf("a share never reaches %g", s.Capacity), "write a share such as 0.95; a limit in bytes or the like is the series' \"limit\"")
	case s.Capacity == 0 && len(s.Series) > 0:
		d.add(d.atEither(&s.Series, s), "it is not known what must not be reached", "write capacity: NUMBER in the unit of the series, or give each series its limit")
	}
	d.checkMitigations(s)
}

// checkSeries refuses keys that do not go together.
func (d *decoder) checkSeries(s *Subsystem, x *SubsystemSeries) {
	if !d.has(x) {
		return // the host's
	}
	if can := x.whats(); x.What != "" && can[0] != "" && !slices.Contains(can, x.What) {
		d.add(d.at(&x.What), fmt.Sprintf("what: %q cannot be measured of it", x.What), "of this can be: "+strings.Join(can, ", "))
	} else if d.has(&x.What) && can[0] == "" {
		d.add(d.at(&x.What), "\"what\" is for cgroup, process, component and path alone", "delete it")
	}
	if x.History == "" && (d.has(&x.Match) || d.has(&x.Of)) {
		d.add(d.atEither(&x.Match, &x.Of), "\"match\" and \"of\" are for history alone", "delete it; of another series the limit is \"limit\"")
	}
	if d.has(&x.Of) && d.has(&x.Limit) {
		d.add(d.at(&x.Limit), "\"limit\" cannot stand beside \"of\"", "delete one of the two")
	}
	if s.Counter && d.has(&x.Of) {
		d.add(d.at(&x.Of), "the rate of a counter is no share of another series", "delete \"of\"; what the rate must not reach is \"capacity\"")
	}
	d.checkLabels(&x.Match)
	if x.PromQL != "" && d.cfg.Forecast.Prometheus == nil {
		d.add(d.at(&x.PromQL), "there is no server to ask", "write forecast.prometheus: {url: \"http://HOST:9090\"}")
	}
	d.checkWatched(x)
}

// checkWatched refuses a component whose process is not known.
func (d *decoder) checkWatched(x *SubsystemSeries) {
	if x.Component == "" {
		return
	}
	component, ok := d.knownComponent(&x.Component)
	if !ok {
		return
	}
	for _, c := range component.Checks {
		if c.Process != nil {
			return
		}
	}
	d.add(d.at(&x.Component), fmt.Sprintf("the component %q has no process check, which would tell its process", x.Component),
		"give it one, or write process: {pid_file: PATH}")
}

// knownComponent returns the component of that name, and reports one that there is not.
func (d *decoder) knownComponent(name *string) (Component, bool) {
	component, ok := d.cfg.Component(*name)
	if ok || *name == "" {
		return component, ok
	}
	var known []string
	for _, c := range d.cfg.Components {
		known = append(known, c.Name)
	}
	d.add(d.at(name), fmt.Sprintf("unknown component %q", *name), suggest(*name, known, "known"))
	return Component{}, false
}

func (d *decoder) checkMitigations(s *Subsystem) {
	seen := d.names()
	for i := range s.Mitigations {
		m := &s.Mitigations[i]
		seen.add(nameOrSelf(d, &m.Name, m), m.Name, "mitigation")
		d.checkPlugin(&m.Plugin, &m.Options, "recover")
		d.checkApproval(&m.Approval)
		d.checkHeal(m)
		if _, ok := d.cfg.GoldenSet(m.Snapshot); m.Snapshot != "" && !ok {
			var sets []string
			for _, g := range d.cfg.Golden.Sets {
				sets = append(sets, g.Name)
			}
			d.add(d.at(&m.Snapshot), fmt.Sprintf("unknown golden set %q", m.Snapshot), suggest(m.Snapshot, sets, "known"))
		}
	}
}

func (d *decoder) checkHeal(m *MitigationRule) {
	switch {
	case m.Heal == "" && d.has(&m.Strategy):
		d.add(d.at(&m.Strategy), "\"strategy\" is a rung of the ladder of a component", "write heal: COMPONENT, or delete it")
		return
	case m.Heal == "":
		return
	case d.has(&m.Options):
		d.add(d.at(&m.Options), "\"with\" is for a plugin", "the options of a heal are those of the component's ladder")
	}
	component, ok := d.knownComponent(&m.Heal)
	if !ok {
		return
	}
	var rungs []string
	for _, r := range component.Ladder {
		rungs = append(rungs, r.Name)
	}
	switch {
	case len(rungs) == 0:
		d.add(d.at(&m.Heal), fmt.Sprintf("the component %q has no ladder", m.Heal), "give it a ladder: nothing would be done")
	case m.Strategy != "" && !slices.Contains(rungs, m.Strategy):
		d.add(d.at(&m.Strategy), fmt.Sprintf("%q is no rung of the ladder of %q", m.Strategy, m.Heal), suggest(m.Strategy, rungs, "known"))
	}
}
