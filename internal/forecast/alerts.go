package forecast

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shivx/shivx"
)

const (
	// closing is by what part the probability must fall below that at which an alert opens for it to close.
	closing = 0.7
	// full is to what part of the capacity what was full must come back for its alert to close.
	full = 0.98
	// known is how many outcomes there must be for a calibrated probability to open an alert by itself.
	known = 50
)

// alert is whether somebody should act on the forecast of a series.
type alert struct {
	open  bool
	since time.Time
	// announced says that it was opened by what announced failures before.
	announced bool
}

// judge opens or closes the alert of a series and records that; it says whether it did.
//
// The model's own alert is what its trees were judged by. The probability that people are told may differ from the model's, by what
// came true: so an alert opens only where a look is worth it by the calibrated probability, and stays until that
// is well below. Of what fills up it opens by the calibrated probability alone, too, where acting is worth it: what is red is an
// alert. So it does of anything else where much is known of how forecasts come true, or an anomaly announces a failure as it did
// before; a moment's load or burst is left to the model. What fills up and is full is an alert, whatever the model thinks of the way there.
func (e *Engine) judge(s *subsystem, t *tracker, now time.Time) bool {
	p := &t.prediction
	was := t.alert.open
	if p.Missing == "" || t.known.After(now) { // a clock that went back is followed
		t.known = now
	}
	look, act := e.costs.Look/e.costs.Miss, e.costs.Act/e.costs.Miss
	switch {
	case p.Missing != "":
		// What is unknown for a moment does not close an alert; what is gone for long does.
		if was && now.Sub(t.known) > max(s.Horizon/4, s.stale(e.o.Rules.Every)) {
			t.alert.open = false
		}
	case was:
		alone := s.fills() || t.alert.announced || s.count >= known
		t.alert.open = s.reached(p.Value) || s.fills() && p.Value >= full*p.Capacity || p.Probability >= closing*look && t.forecast.Alert || alone && p.Probability >= closing*act
	default:
		reached := s.reached(p.Value)
		announced := !reached && p.Probability > s.learn.Apply(p.Raw)
		alone := s.fills() || announced || s.count >= known
		// What is full before anything can be forecast is told, but nothing is done about what is not known yet.
		t.alert.open = t.forecast.Ready && (reached && s.fills() || p.Probability >= look && t.forecast.Alert || alone && p.Probability >= act)
		t.alert.announced = announced
	}
	switch {
	case t.alert.open && !was:
		t.alert.since = now.UTC()
	case t.alert.open == was && !was:
		return false
	}
	p.Alert, p.Since = t.alert.open, t.alert.since
	if t.alert.open == was {
		return false
	}
	e.unwritten = append(e.unwritten, e.alertRecord(s, t, now))
	if !t.alert.open {
		p.Since, t.alert = time.Time{}, alert{}
	}
	return true
}

// alertRecord is what the ledger gets of an alert that opens or closes. Its id is the same however often it is recorded.
func (e *Engine) alertRecord(s *subsystem, t *tracker, now time.Time) shivx.RecoveryRecord {
	p := t.prediction
	state, severity, message := "opened", shivx.SeverityWarning, s.why(t)
	if !t.alert.open {
		state, severity = "closed", shivx.SeverityInfo
		message = fmt.Sprintf("%s is at %s, and not forecast to reach %s any more", p.Series, s.quantity(p.Value), s.quantity(p.Capacity))
		if p.Missing != "" {
			message = p.Series + ": " + p.Missing
		}
	}
	return shivx.RecoveryRecord{
		EventID: alertID(s.Name, t.name, t.alert.since, state), Timestamp: now.UTC(), EventType: shivx.EventPrediction, Component: t.component,
		Subsystem: s.Name, Host: e.o.Host, Severity: severity, Message: message, Details: map[string]any{"alert": state, "prediction": p},
	}
}

func alertID(subsystem, series string, since time.Time, state string) string {
	return fmt.Sprintf("prediction/%s/%s/%s/%s", subsystem, series, since.Format(time.RFC3339Nano), state)
}

// orphans closes alerts that were open when the state was kept, of series that this configuration does not watch as it was:
// nothing else would close them.
func (e *Engine) orphans(kept map[string]keptSubsystem) {
	const gone = "it is not watched any more, or not as before: the configuration has changed"
	now := e.o.Now().UTC()
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		s, _ := e.subsystem(name)
		for _, series := range slices.Sorted(maps.Keys(kept[name].Series)) {
			k := kept[name].Series[series]
			if k.Alert.IsZero() || s != nil && s.series[series] != nil && s.series[series].alert.open {
				continue
			}
			e.unsaved = true
			e.unwritten = append(e.unwritten, shivx.RecoveryRecord{
				EventID: alertID(name, series, k.Alert, "closed"), Timestamp: now, EventType: shivx.EventPrediction, Component: k.Component,
				Subsystem: name, Host: e.o.Host, Severity: shivx.SeverityInfo, Message: series + ": " + gone,
				Details: map[string]any{"alert": "closed", "prediction": shivx.Prediction{
					SubsystemTarget: shivx.SubsystemTarget{Subsystem: name, Host: e.o.Host}, Series: series, Component: k.Component,
					Model: shivx.ForecastModel(kept[name].Model), At: now, Missing: gone, Capacity: kept[name].Capacity,
					Horizon: shivx.Duration(kept[name].Horizon)}},
			})
		}
	}
}

// record appends what is to be recorded, in order; what cannot be now is tried again at the next look.
func (e *Engine) record(ctx context.Context) error {
	e.mu.Lock()
	waiting := slices.Clone(e.unwritten)
	e.mu.Unlock()
	done := 0
	var err error
	for _, r := range waiting {
		if e.o.Ledger != nil {
			if _, err = e.o.Ledger.Append(ctx, r.EventID, r); err != nil {
				err = fmt.Errorf("record a forecast: %w", err)
				break
			}
		}
		done++
	}
	e.mu.Lock()
	e.unwritten = e.unwritten[done:]
	e.mu.Unlock()
	return err
}
