package config

import (
	"cmp"
	"reflect"
	"strings"
	"time"
)

// The bounds of a horizon in steps, and how many it has when nothing is said.
const (
	leastSteps   = 6
	mostSteps    = 288
	defaultSteps = 72
)

// shortestStep is how short a step may be: the history keeps times in milliseconds.
const shortestStep = 100 * time.Millisecond

// shareCapacity is what must not be reached of a share when nothing is said.
const shareCapacity = 0.95

// hostSubsystems are those of every host. Mounts that are listed in resilience.monitor have a series each.
func hostSubsystems(every time.Duration) []Subsystem {
	history := func(name, of string) []SubsystemSeries { return []SubsystemSeries{{History: name, Of: of}} }
	all := []Subsystem{
		{Name: "cpu", Model: "spike", Series: history("shivx_host_cpu_used_ratio", ""), Step: time.Minute},
		{Name: "memory", Model: "exhaustion", Series: history("shivx_host_memory_used_ratio", "")},
		{Name: "disk", Model: "exhaustion", Series: history("shivx_host_filesystem_used_ratio", "")},
		{Name: "inodes", Model: "exhaustion", Series: history("shivx_host_filesystem_inodes_used_ratio", "")},
		{Name: "open_files", Model: "exhaustion", Series: history("shivx_host_open_files", "shivx_host_open_files_limit")},
		{Name: "threads", Model: "exhaustion", Series: history("shivx_host_threads", "shivx_host_threads_limit")},
		// From 5 % of faulty packets on the network's health is below 80 (docs/RESILIENCE.md).
		{Name: "network", Model: "degradation", Series: history("shivx_host_network_faulty_ratio", ""), Capacity: 0.05, Step: time.Minute},
	}
	for i := range all {
		s := Subsystem{}
		setDefaults(reflect.ValueOf(&s).Elem())
		all[i].Enabled, all[i].Limits = s.Enabled, s.Limits
		all[i].complete(every)
	}
	return all
}

// complete fills what follows from the model, and from the time between two looks.
func (s *Subsystem) complete(every time.Duration) {
	if s.Horizon == 0 {
		s.Horizon = time.Hour
		if s.Model == "exhaustion" {
			s.Horizon = 6 * time.Hour
		}
	}
	if s.Step == 0 {
		s.Step = max(s.Horizon/defaultSteps, min(every, s.Horizon/leastSteps))
	}
	for i := range s.Series {
		if x := &s.Series[i]; x.What == "" {
			x.What = x.whats()[0]
		}
	}
	if s.Capacity == 0 && s.shares() {
		s.Capacity = shareCapacity
	}
}

// whats are what can be measured of the series, the default first; {""}: it is what its name or query says.
func (x *SubsystemSeries) whats() []string {
	switch {
	case x.Cgroup != "":
		return []string{"memory", "pids"}
	case x.Process != nil, x.Component != "":
		return []string{"memory", "open_files", "threads"}
	case x.Path != "":
		return []string{"bytes", "inodes"}
	}
	return []string{""}
}

// Share says whether a share is watched: of a limit, or by the name of the metric.
func (x *SubsystemSeries) Share() bool {
	return x.Limit > 0 || x.Of != "" || x.Cgroup != "" || x.Path != "" || x.What == "open_files" || strings.HasSuffix(x.History, "_ratio")
}

// shares says whether all series are watched as shares.
func (s *Subsystem) shares() bool {
	for i := range s.Series {
		if !s.Series[i].Share() {
			return false
		}
	}
	return len(s.Series) > 0
}

// inheritForecast fills the defaults of the section that come from elsewhere.
func (d *decoder) inheritForecast() {
	f := &d.cfg.Forecast
	if !d.has(&f.Subsystems) {
		f.Subsystems = hostSubsystems(f.Every)
		return
	}
	of := map[string]Subsystem{}
	for _, s := range hostSubsystems(f.Every) {
		of[s.Name] = s
	}
	for i := range f.Subsystems {
		s := &f.Subsystems[i]
		if base, ok := of[s.Name]; ok {
			d.inheritSubsystem(s, base)
		}
		s.complete(f.Every)
		for j := range s.Mitigations {
			if m := &s.Mitigations[j]; !d.has(&m.Name) {
				m.Name = cmp.Or(m.Plugin, m.Heal)
			}
		}
	}
}

// inheritSubsystem gives s what the file does not say of a subsystem of the host. What follows from the
// model or the horizon follows from those that the file says.
func (d *decoder) inheritSubsystem(s *Subsystem, base Subsystem) {
	model, horizon := d.has(&s.Model) && s.Model != base.Model, d.has(&s.Horizon)
	if !d.has(&s.Model) {
		s.Model = base.Model
	}
	if !d.has(&s.Series) {
		s.Series = base.Series
		if !d.has(&s.Capacity) {
			s.Capacity = base.Capacity
		}
	}
	if !horizon && !model {
		s.Horizon = base.Horizon
	}
	if !d.has(&s.Step) && !horizon && !model {
		s.Step = base.Step
	}
}

// withHost returns the subsystems of the file behind those of the host that it does not name.
func withHost(said []Subsystem, every time.Duration) []Subsystem {
	named := map[string]bool{}
	for _, s := range said {
		named[s.Name] = true
	}
	var all []Subsystem
	for _, s := range hostSubsystems(every) {
		if !named[s.Name] {
			all = append(all, s)
		}
	}
	return append(all, said...)
}

// Subsystem returns the subsystem of that name, when it is watched.
func (f *Forecast) Subsystem(name string) (Subsystem, bool) {
	for _, s := range f.Subsystems {
		if s.Name == name && s.Enabled && f.Enabled {
			return s, true
		}
	}
	return Subsystem{}, false
}
