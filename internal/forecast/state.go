package forecast

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/forecasting"
)

const (
	// stateFile holds what cannot be made anew from what was measured.
	stateFile = "state.json"
	// stateVersion is the version of its format.
	stateVersion = 1
	// saveEvery is how often it is written while no alert changes: what a crash costs is some decisions.
	saveEvery = time.Minute
)

// keptState is the content of the file.
type keptState struct {
	Version    int                      `json:"version"`
	Subsystems map[string]keptSubsystem `json:"subsystems"`
	Precursors precursors               `json:"precursors"`
	Unwritten  []shivx.RecoveryRecord   `json:"unwritten,omitempty"`
	// Next is the record of the ledger that is followed next.
	Next uint64 `json:"next"`
}

type keptSubsystem struct {
	// Model, Capacity, Horizon and Step are those of what was learned; what was learned of others is not taken over.
	Model    string                   `json:"model"`
	Capacity float64                  `json:"capacity"`
	Horizon  time.Duration            `json:"horizon"`
	Learn    *forecasting.Calibration `json:"learn"`
	Said     *forecasting.Calibration `json:"said"`
	Count    int                      `json:"count"`
	LeftOut  int                      `json:"left_out"`
	Series   map[string]keptSeries    `json:"series,omitempty"`
}

type keptSeries struct {
	Component string     `json:"component,omitempty"`
	Alert     time.Time  `json:"alert,omitzero"` // since when it is open
	Announced bool       `json:"announced,omitempty"`
	Pending   []decision `json:"pending,omitempty"`
}

// save writes the state.
func (e *Engine) save() error {
	e.mu.Lock()
	data, err := json.Marshal(e.keep())
	now, changes := e.o.Now(), e.changes()
	e.mu.Unlock()
	if err == nil {
		err = renameio.WriteFile(filepath.Join(e.o.Dir, stateFile), append(data, '\n'), 0o640)
	}
	if err != nil {
		return shivx.Hint(fmt.Errorf("keep the state of the forecasts: %w", err), "look after the space on the disk of paths.var, and its rights")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.savedAt, e.saved, e.unsaved = now, changes, false
	return nil
}

func (e *Engine) keep() keptState {
	out := keptState{Version: stateVersion, Subsystems: map[string]keptSubsystem{}, Precursors: e.precursors, Unwritten: e.unwritten, Next: e.next}
	for _, s := range e.subsystems {
		k := keptSubsystem{Model: s.Model, Capacity: s.Capacity, Horizon: s.Horizon, Learn: s.learn, Said: s.said,
			Count: s.count, LeftOut: s.leftOut, Series: map[string]keptSeries{}}
		for name, t := range s.series {
			if t.alert.open || len(t.pending) > 0 {
				k.Series[name] = keptSeries{Component: t.component, Alert: t.alert.since, Announced: t.alert.announced, Pending: t.pending}
			}
		}
		out.Subsystems[s.Name] = k
	}
	return out
}

// load takes over what was kept. What cannot be read is set aside: forecasts go on without it.
func (e *Engine) load() {
	path := filepath.Join(e.o.Dir, stateFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var kept keptState
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err == nil && kept.Version != stateVersion {
		err = fmt.Errorf("version %d is not known", kept.Version)
	}
	if err != nil {
		e.setAside(path, err)
		return
	}
	e.unwritten, e.next = kept.Unwritten, max(1, kept.Next)
	if last := e.caught; e.o.Ledger != nil && e.next > last+1 {
		e.next = 1 // another ledger
	}
	e.precursors = kept.Precursors
	if e.precursors.Counted == nil {
		e.precursors.Counted = map[string][]evidence{}
	}
	if e.precursors.Learned == nil {
		e.precursors.Learned = map[string]time.Time{}
	}
	for _, s := range e.subsystems {
		if k, ok := kept.Subsystems[s.Name]; ok {
			s.restore(k, e.o.Now())
		}
	}
	e.orphans(kept.Subsystems)
}

// setAside moves a file that cannot be read away, so that a person can look at it.
func (e *Engine) setAside(path string, err error) {
	aside := path + ".damaged-" + e.o.Now().UTC().Format("20060102T150405Z")
	e.log.Warn("what was kept of the forecasts cannot be read; they begin anew", "error", err, "kept", aside)
	if err := os.Rename(path, aside); err != nil {
		e.log.Error("a damaged file could not be set aside", "file", path, "error", err)
	}
}

// restore takes over what was kept of a subsystem, as far as it is the same one. A series that is not measured any more is so from
// now on.
func (s *subsystem) restore(k keptSubsystem, now time.Time) {
	if k.Model != s.Model || k.Horizon != s.Horizon {
		return
	}
	if k.Learn != nil && k.Said != nil && k.Learn.Check() == nil && k.Said.Check() == nil {
		s.learn, s.said, s.count, s.leftOut = k.Learn, k.Said, k.Count, k.LeftOut
	}
	if k.Capacity != s.Capacity { //nolint:gocritic // the very same, or another
		return
	}
	for name, of := range k.Series {
		t, err := newTracker(s.Subsystem, name, of.Component)
		if err != nil || len(s.series) >= maxSeries {
			return
		}
		t.pending, t.newest, t.known = of.Pending, now, now
		if n := len(t.pending); n > 0 {
			t.decidedAt = t.pending[n-1].At
		}
		t.alert = alert{open: !of.Alert.IsZero(), since: of.Alert, announced: of.Announced}
		s.series[name], s.order = t, append(s.order, name)
	}
}
