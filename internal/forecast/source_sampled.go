package forecast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/vitals"
)

// sampled measures something when it is asked, and keeps it in the host's history, from which its past is read.
type sampled struct {
	historySource
	label, subject string
	// measure returns what is used and its limit; a limit of 0: there is none.
	measure func(ctx context.Context) (used, limit float64, err error)
	// keep gathers figures for the history.
	keep func(figures ...vitals.Figure)
	// share says that the share of the limit is watched.
	share bool
}

var errNoLimit = errors.New("it has no limit")

func (s *sampled) read(ctx context.Context, from, to time.Time, step time.Duration) ([]reading, error) {
	if step > 0 {
		got, err := s.historySource.read(ctx, from, to, step)
		if errors.Is(err, errNoHistory) {
			return nil, nil
		}
		for i := range got {
			got[i].name = s.title()
		}
		return got, err
	}
	used, limit, err := s.measure(ctx)
	if err != nil {
		return nil, err
	}
	s.keep(vitals.Figure{Name: s.name, Label: s.label, Subject: s.subject, Value: used})
	if limit > 0 {
		s.keep(vitals.Figure{Name: limitName(s.name), Label: s.label, Subject: s.subject, Value: limit})
	}
	if s.limit > 0 {
		limit = s.limit
	}
	v := used
	if s.share {
		if limit <= 0 {
			return nil, shivx.Hint(fmt.Errorf("%s: %w", s.title(), errNoLimit), "give it one, or write the series' limit in the configuration")
		}
		v = used / limit
	}
	return []reading{{name: s.title(), points: []Point{{to, v, v}}}}, nil
}

// keepFigures gathers what a look measures. Two subsystems may measure the same.
func (e *Engine) keepFigures(figures ...vitals.Figure) {
	for _, f := range figures {
		if !slices.ContainsFunc(e.figures, func(k vitals.Figure) bool { return k.Name == f.Name && k.Subject == f.Subject }) {
			e.figures = append(e.figures, f)
		}
	}
}

// limitName is the name of the limit of a figure; the unit stays at its end.
func limitName(name string) string {
	if what, ok := strings.CutSuffix(name, "_bytes"); ok {
		return what + "_limit_bytes"
	}
	return name + "_limit"
}

func (s *sampled) title() string {
	return seriesName(s.name, map[string]string{s.label: s.subject})
}

// newSampled returns the source of an entry that is measured when it is asked.
func (e *Engine) newSampled(s config.Subsystem, x config.SubsystemSeries) (*sampled, error) {
	out := &sampled{keep: e.keepFigures, share: x.Share()}
	root := e.o.Root
	switch {
	case x.Cgroup != "":
		out.name, out.label, out.subject = "shivx_cgroup_"+unitOf(x.What), "cgroup", x.Cgroup
		out.measure = cgroupMeasure(root, x.Cgroup, x.What)
	case x.Path != "":
		out.name, out.label, out.subject = "shivx_path_used_"+x.What, "path", x.Path
		out.measure = pathMeasure(root, x.Path, x.What)
	default:
		check, name, err := e.processOf(x)
		if err != nil {
			return nil, err
		}
		finder, err := health.NewFinder(check, root)
		if err != nil {
			return nil, err
		}
		out.name, out.label, out.subject = "shivx_process_"+unitOf(x.What), "process", name
		if x.Component != "" {
			out.name, out.label = "shivx_component_"+unitOf(x.What), "component"
		}
		out.measure = processMeasure(root, finder.PID, x.What)
	}
	out.measure = bounded(out.title(), out.measure)
	out.historySource = historySource{history: e.o.History, name: out.name, match: map[string]string{out.label: out.subject}, counter: s.Counter}
	switch {
	case x.Limit > 0:
		out.limit = x.Limit
	case out.share:
		out.of = limitName(out.name)
	}
	return out, nil
}

func unitOf(what string) string {
	if what == "memory" {
		return "memory_bytes"
	}
	return what
}

// processOf returns how the process of an entry is found, and what it is called.
func (e *Engine) processOf(x config.SubsystemSeries) (config.ProcessCheck, string, error) {
	if x.Process != nil {
		if x.Process.Name != "" {
			return *x.Process, x.Process.Name, nil
		}
		return *x.Process, x.Process.PIDFile, nil
	}
	for _, c := range e.o.Components {
		for _, check := range c.Checks {
			if c.Name == x.Component && check.Process != nil {
				return *check.Process, c.Name, nil
			}
		}
	}
	return config.ProcessCheck{}, "", fmt.Errorf("the component %q has no process check", x.Component)
}
