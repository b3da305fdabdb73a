package forecast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
)

const (
	// marksFile holds what was forecast without the actions that were taken.
	marksFile = "marks.json"
	// markKept is how long a mark is kept: who measures after that has nothing to compare with.
	markKept = 14 * 24 * time.Hour
	// learnAfter is after how many horizons from an action on it is learned again when nobody has measured its effect.
	learnAfter = 2
	// Worth is the least that an action must have freed, as a part of the capacity, to have helped by itself.
	worth = 0.05
)

// mark is what was forecast when an action was taken.
type mark struct {
	Subsystem  string            `json:"subsystem"`
	Taken      time.Time         `json:"taken"`
	Prediction shivx.Prediction  `json:"prediction"`
	Ahead      []shivx.TrackBand `json:"ahead,omitempty"`
	// Measured is when the effect was.
	Measured time.Time `json:"measured,omitzero"`
}

var errNoMark = errors.New("it is not known what was forecast without the action")

// Acting is told before an action is taken against what is forecast of a subsystem. It keeps, durably, the forecast
// without the action under a key; a key that it knows changes nothing. What was said of the subsystem so far is
// left out of what is learned, and so is what is said until the effect is measured.
func (e *Engine) Acting(_ context.Context, subsystem, key string) error {
	e.marking.Lock()
	defer e.marking.Unlock()
	m, known, err := e.markNow(subsystem, key)
	if err != nil || known {
		return err
	}
	return e.keepMark(key, m)
}

// markNow returns what is forecast now, unless there is a mark under that key.
func (e *Engine) markNow(subsystem, key string) (m mark, known bool, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s, err := e.subsystem(subsystem)
	if err != nil {
		return mark{}, false, err
	}
	if m, known = e.marks[key]; known {
		return m, true, nil
	}
	now := e.o.Now()
	m = mark{Subsystem: subsystem, Taken: now.UTC()}
	if t := s.worst(); t != nil {
		m.Prediction, m.Ahead = t.prediction, s.ahead(t, now)
	}
	return m, false, nil
}

// keepMark writes a mark before it counts; marking is held.
func (e *Engine) keepMark(key string, m mark) error {
	e.mu.RLock()
	marks := maps.Clone(e.marks)
	e.mu.RUnlock()
	maps.DeleteFunc(marks, func(_ string, old mark) bool { return e.o.Now().Sub(old.Taken) > markKept })
	marks[key] = m
	data, err := json.Marshal(marks)
	if err == nil {
		err = renameio.WriteFile(filepath.Join(e.o.Dir, marksFile), append(data, '\n'), 0o640)
	}
	if err != nil {
		return shivx.Hint(fmt.Errorf("keep the forecast without an action: %w", err), "look after the space on the disk of paths.var, and its rights")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.marks = marks
	s, err := e.subsystem(m.Subsystem)
	if err == nil {
		e.applyMarks(s)
	}
	return err
}

// applyMarks lets all actions against what was forecast of a subsystem count, also those that are newer than its kept state.
func (e *Engine) applyMarks(s *subsystem) {
	s.acted = time.Time{}
	for _, m := range e.marks {
		if m.Subsystem == s.Name {
			s.act(m)
		}
	}
}

// act leaves out what was said before an action, and what is said while its effect is to be measured.
func (s *subsystem) act(m mark) {
	for _, t := range s.series {
		s.leaveOut(t, m.Taken)
	}
	until := m.Taken.Add(learnAfter * s.Horizon)
	if !m.Measured.IsZero() {
		until = m.Measured
	}
	if until.After(s.acted) {
		s.acted = until
	}
}

// Effect compares what came after an action with what was forecast without it. It looks at what was measured first. From then
// on it is learned again what comes true.
func (e *Engine) Effect(ctx context.Context, subsystem, key, action string) (shivx.MitigationEffect, error) {
	if err := e.Look(ctx); err != nil && ctx.Err() != nil {
		return shivx.MitigationEffect{}, err
	}
	e.marking.Lock()
	defer e.marking.Unlock()
	out, m, err := e.effect(subsystem, key, action)
	if err != nil || !m.Measured.IsZero() {
		return out, err
	}
	m.Measured = out.Measured
	return out, e.keepMark(key, m)
}

func (e *Engine) effect(subsystem, key, action string) (shivx.MitigationEffect, mark, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s, err := e.subsystem(subsystem)
	if err != nil {
		return shivx.MitigationEffect{}, mark{}, err
	}
	m, ok := e.marks[key]
	if !ok || m.Prediction.Series == "" {
		return shivx.MitigationEffect{}, m, shivx.Hint(fmt.Errorf("measure %s: %w", action, errNoMark), "look at shivx forecast heatmap by yourself")
	}
	now := e.o.Now()
	t := s.series[m.Prediction.Series]
	if t == nil || now.Sub(t.newest) > s.stale(e.o.Rules.Every) {
		return shivx.MitigationEffect{}, m, shivx.Hint(fmt.Errorf("measure %s: %s is not measured any more", action, m.Prediction.Series), "is it gone, as a process that was not started again?")
	}
	before, after := &m.Prediction, &t.prediction
	out := shivx.MitigationEffect{Action: action, Taken: m.Taken, Measured: now.UTC(), Series: before.Series, Before: before.Value,
		Forecast: at(m, now), After: t.level(), ProbabilityBefore: before.Probability, ProbabilityAfter: after.Probability,
		BreachBefore: before.BreachAt, BreachAfter: after.BreachAt}
	s.helped(&out, after.Missing == "")
	return out, m, nil
}

// at is the level that was forecast for a time without the action; beyond the horizon the last one.
func at(m mark, when time.Time) float64 {
	from, v := m.Prediction.At, m.Prediction.Value
	for _, b := range m.Ahead {
		if !b.At.Before(when) {
			if span := b.At.Sub(from); span > 0 {
				return v + (b.Value-v)*float64(when.Sub(from))/float64(span)
			}
			return b.Value
		}
		from, v = b.At, b.Value
	}
	return v
}

// helped judges an effect: by what was freed against the forecast, or by how much later the failure is, if there is a forecast.
func (s *subsystem) helped(m *shivx.MitigationEffect, forecast bool) {
	freed := m.Forecast - m.After
	// A forecast that goes beyond the capacity would not have: it would have failed there.
	if m.Forecast > s.Capacity {
		freed = s.Capacity - m.After
	}
	later := forecast && !m.BreachBefore.IsZero() && (m.BreachAfter.IsZero() || m.BreachAfter.Sub(m.BreachBefore) >= s.Horizon/2)
	compared := fmt.Sprintf("%s instead of the %s that were forecast", s.quantity(m.After), s.quantity(m.Forecast))
	switch {
	case s.reached(m.After):
		m.Why = fmt.Sprintf("the capacity is reached all the same: %s", compared)
	case freed >= worth*s.Capacity:
		m.Helped, m.Why = true, compared
	case later && freed > 0:
		m.Helped, m.Why = true, compared+", and the failure is later or not forecast any more"
	case forecast && m.ProbabilityAfter <= m.ProbabilityBefore/2 && freed > 0:
		m.Helped, m.Why = true, fmt.Sprintf("%s; the probability fell from %s to %s", compared, percent(m.ProbabilityBefore), percent(m.ProbabilityAfter))
	default:
		m.Why = fmt.Sprintf("no effect that counts: %s", compared)
	}
}

// loadMarks reads the marks; a file that cannot be read is set aside: the agent has more to do than forecasts.
func (e *Engine) loadMarks() {
	path := filepath.Join(e.o.Dir, marksFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err == nil:
		err = json.Unmarshal(data, &e.marks)
	}
	if err != nil || e.marks == nil {
		e.marks = map[string]mark{}
		e.setAside(path, err)
	}
}
