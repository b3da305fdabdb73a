package builtin

import (
	"context"
	"encoding/json"

	"github.com/shivx/shivx/plugins/sdk"
)

// mark is what identifies the service before a step.
type mark struct {
	PID        int    `json:"pid,omitempty"`
	Start      uint64 `json:"start,omitempty"`
	Invocation string `json:"invocation,omitempty"`
}

func (m mark) names(p proc) bool { return m.PID == p.pid && m.Start == p.start }

func parseMark(text string) (mark, bool) {
	var m mark
	return m, text != "" && json.Unmarshal([]byte(text), &m) == nil
}

// Mark identifies the running instance.
func (p *Process) Mark(ctx context.Context, step sdk.Step, req sdk.Request) (string, error) {
	if step != sdk.StepRecover {
		return "", sdk.ErrUnknown
	}
	_, s, err := p.open(req)
	if err != nil {
		return "", err
	}
	return s.mark(ctx)
}

func (s service) mark(ctx context.Context) (string, error) {
	var m mark
	if s.Unit != "" {
		state, err := s.unitMark(ctx)
		if err != nil {
			return "", err
		}
		m.Invocation = state.Invocation
	} else {
		found, err := s.find()
		if err != nil {
			return "", err
		}
		if found.main != nil {
			m.PID, m.Start = found.main.pid, found.main.start
		}
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// Done says whether the restart took place.
func (p *Process) Done(ctx context.Context, step sdk.Step, req sdk.Request) (bool, error) {
	if step != sdk.StepRecover {
		return false, sdk.ErrUnknown
	}
	o, s, err := p.open(req)
	if err != nil {
		return false, err
	}
	if o.AwaitRestart {
		m, ok := parseMark(req.Mark)
		if !ok {
			return false, sdk.ErrUnknown
		}
		now, alive, err := s.supervised()
		return alive && !m.names(now), err
	}
	return s.done(ctx)
}

func (s service) done(ctx context.Context) (bool, error) {
	if s.Unit == "" {
		_, done, err := s.started()
		return done, err
	}
	m, ok := parseMark(s.req.Mark)
	if !ok {
		return false, sdk.ErrUnknown
	}
	state, err := s.unitMark(ctx)
	return err == nil && state.up() && state.Invocation != m.Invocation, err
}
