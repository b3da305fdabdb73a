package guardian

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/detect"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// ReplayOptions say how a log is replayed.
type ReplayOptions struct {
	// Log has the format and its options.
	Log   config.Log
	Rules config.Guardian
	// Now is about when the log was written, for times without a year.
	Now time.Time
	// Zone of times that have none; nil: UTC.
	Zone *time.Location
}

// ReplaySummary counts what was read.
type ReplaySummary struct {
	Lines     int `json:"lines"`
	Events    int `json:"events"`
	Failures  int `json:"failures"`
	Decisions int `json:"decisions"`
	// Isolated and Warned are how many sources and networks were.
	Isolated int `json:"isolated"`
	Warned   int `json:"warned"`
	// Cut lines were longer than a line may be: only what their beginning tells counts.
	Cut int `json:"cut"`
}

// replayed is one line of a replay's output.
type replayed struct {
	// Type is failure or decision.
	Type string `json:"type"`
	// Line of the log that says it, from 1, not that at which it was known for sure: what might be forged
	// waits for the lines after it.
	Line int        `json:"line"`
	Time *time.Time `json:"time,omitempty"`
	// Host is what the line says; Source is how the guardian counts it, "" for a name.
	Host   string `json:"host,omitempty"`
	Source string `json:"source,omitempty"`
	Kind   string `json:"kind,omitempty"`
	User   string `json:"user,omitempty"`
	Count  int    `json:"count,omitempty"`
	Path   string `json:"path,omitempty"`
	Status int    `json:"status,omitempty"`
	Rule   string `json:"rule,omitempty"`

	ThreatType  shivx.ThreatType  `json:"threat_type,omitempty"`
	ThreatLevel shivx.ThreatLevel `json:"threat_level,omitempty"`
	Action      string            `json:"action,omitempty"`
	Until       *time.Time        `json:"until,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Evidence    map[string]any    `json:"evidence,omitempty"`
}

// replay runs the detectors over a log in event time.
type replay struct {
	o        ReplayOptions
	parser   logs.Parser
	detector *detect.Detector
	sights   *logs.Signatures
	out      *json.Encoder
	summary  ReplaySummary
	set      *enforce.Set
	// held are the sources and networks that were isolated and not let go yet.
	held     map[netip.Prefix]bool
	offences map[netip.Prefix]offence
	warned   map[netip.Prefix]bool
	isolated map[netip.Prefix]bool
	// lastAt is the time of the latest event, in nanoseconds, for lines without one.
	lastAt int64
	err    error
	// events and decisions are used again.
	events    []logs.Event
	decisions []detect.Decision
}

// maxReplayLine is the longest line that is read, as when a log is followed, with its line break.
const maxReplayLine = 64<<10 + 1

// ReplayRefusedError says that the format is not known, or that a log cannot be read in it as the options
// say.
type ReplayRefusedError struct{ error }

// Unwrap returns what is wrong.
func (e ReplayRefusedError) Unwrap() error { return e.error }

// Replay reads a log and writes one JSON line for each recognised failure and for each decision, as they
// would have been made at the time in the mode NORMAL. The same log gives the same bytes. Each JSON line
// is one call of w. After an error the summary tells of what was read before.
func Replay(r io.Reader, w io.Writer, o ReplayOptions) (ReplaySummary, error) {
	p, err := newReplay(w, o)
	if err != nil {
		return ReplaySummary{}, err
	}
	err = p.read(bufio.NewReaderSize(r, maxReplayLine))
	p.summary.Isolated, p.summary.Warned = len(p.isolated), len(p.warned)
	return p.summary, err
}

func newReplay(w io.Writer, o ReplayOptions) (*replay, error) {
	kind, known := logs.KindOf(o.Log.Kind)
	if !known && o.Log.Kind != "" {
		return nil, ReplayRefusedError{shivx.Hint(fmt.Errorf("%q is no kind of an event", o.Log.Kind),
			"write one of request, failure, success, probe, denied")}
	}
	parser, err := logs.New(o.Log.Format, logs.Options{
		Now: o.Now, Zone: o.Zone, Mode: o.Log.Mode, Pattern: o.Log.Pattern, Kind: kind, TimeLayout: o.Log.TimeLayout,
		Trusted: prefixes(o.Rules.TrustedProxies)})
	if err != nil {
		return nil, ReplayRefusedError{err}
	}
	sights, err := logs.NewSignatures(o.Rules.Rules.Weights.Paths, o.Rules.Rules.Weights.Tools)
	if err != nil {
		return nil, fmt.Errorf("build the signatures of scanners: %w", err)
	}
	detector, err := detect.New(detect.Options{Rules: o.Rules.Rules, Host: "replay", Signatures: sights})
	if err != nil {
		return nil, fmt.Errorf("build the detector: %w", err)
	}
	return &replay{
		o: o, parser: parser, detector: detector, sights: sights, out: json.NewEncoder(w),
		set: enforce.NewSet(allowed(o.Rules.Allow)), held: map[netip.Prefix]bool{}, offences: map[netip.Prefix]offence{},
		warned: map[netip.Prefix]bool{}, isolated: map[netip.Prefix]bool{},
	}, nil
}

func (p *replay) read(in *bufio.Reader) error {
	for more := true; more && p.err == nil; {
		line, err := in.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		if cut { // where a line breaks off, whoever sent it chose its end
			p.opening(line[:maxReplayLine-1])
			err = skipLine(in)
		}
		if more = err == nil; !more && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the log: %w", err)
		}
		if !cut && len(line) > 0 {
			p.summary.Lines++
			p.take(p.parser.Parse(trimBreak(line), p.events[:0]))
		}
	}
	if s, ok := p.parser.(logs.Settler); ok {
		p.take(s.Settle(p.events[:0]))
	}
	return p.err
}

// opening takes what can be told from the beginning of a line that is too long, as when a log is followed.
func (p *replay) opening(line []byte) {
	p.summary.Lines++
	p.summary.Cut++
	if o, ok := p.parser.(logs.Opener); ok {
		p.take(o.ParseOpening(line, p.events[:0]))
	}
}

// skipLine passes over the rest of a line that is too long.
func skipLine(in *bufio.Reader) error {
	for {
		if _, err := in.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func trimBreak(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

func (p *replay) print(e *logs.Event, v replayed) {
	if p.err == nil {
		v.Line = p.summary.Lines - e.Back
		p.err = p.out.Encode(v)
	}
}

// take takes events, and keeps their space for the next ones.
func (p *replay) take(events []logs.Event) {
	p.events = events
	for i := range events {
		p.observe(&events[i])
	}
}

// observe shows an event that is a failure and lets the detector judge it.
func (p *replay) observe(e *logs.Event) {
	p.summary.Events++
	if e.At == 0 {
		e.At = p.lastAt
	}
	p.lastAt = max(p.lastAt, e.At)
	kind := e.Kind
	if kind == logs.Request && e.Status >= 400 && p.sights.ProbePath(e.Path) {
		kind = logs.Probe
	}
	if kind == logs.Failure || kind == logs.Probe || kind == logs.Denied {
		p.summary.Failures++
		p.print(e, failureOf(e, kind))
	}
	if !e.Addr.IsValid() {
		return // a name is no source
	}
	at := time.Unix(0, e.At)
	if v := p.set.Look(e.Addr, at); v.Refused {
		return // it would not have come so far
	}
	source := shivx.SourceOf(e.Addr)
	p.letGo(source, at)
	p.letGo(detect.NetworkOf(source), at)
	p.decisions = p.detector.Observe(e, p.decisions[:0])
	for i := range p.decisions {
		p.decide(e, &p.decisions[i])
	}
}

// letGo lets a source or network go whose term is over.
func (p *replay) letGo(source netip.Prefix, at time.Time) {
	if !p.held[source] {
		return
	}
	if i, ok := p.set.Get(source); ok && i.InForce(at) {
		return // the address is on the allow list, the rest of its network is not
	}
	delete(p.held, source)
	p.set.Drop(source)
	p.detector.Unpin(source)
}

func failureOf(e *logs.Event, kind logs.Kind) replayed {
	v := replayed{
		Type: "failure", Host: string(e.Host), Kind: kind.String(), User: string(e.User), Count: e.Count,
		Path: string(e.Path), Status: e.Status, Rule: e.Rule,
	}
	if e.Addr.IsValid() {
		v.Source = shivx.SourceString(shivx.SourceOf(e.Addr))
	}
	if e.At != 0 {
		at := time.Unix(0, e.At).UTC()
		v.Time = &at
	}
	return v
}

func (p *replay) decide(e *logs.Event, d *detect.Decision) {
	p.summary.Decisions++
	at := d.At.UTC()
	v := replayed{
		Type: "decision", Time: &at, Source: d.Source, ThreatType: d.Type, ThreatLevel: d.Level, Reason: d.Reason,
		Evidence: d.Evidence, Action: "warn",
	}
	switch {
	case !d.Level.Serious():
		p.warned[d.Prefix] = true
	case spared(p.set, prefixes(p.o.Rules.TrustedProxies), d.Prefix):
		v.Action = string(shivx.ActionSpared)
	default:
		v.Action = "isolate"
		p.isolated[d.Prefix] = true
		until := p.isolate(d.Prefix, at)
		v.Until = &until
	}
	p.print(e, v)
}

// isolate holds the source for the term that its offences ask for.
func (p *replay) isolate(source netip.Prefix, at time.Time) time.Time {
	o := p.offences[source]
	if at.Sub(o.Last) > p.o.Rules.Remember {
		o.Count = 0
	}
	o.Count, o.Last = o.Count+1, at
	p.offences[source] = o
	until := at.Add(termOf(p.o.Rules.Terms, o.Count))
	p.held[source] = true
	p.set.Put(shivx.Isolation{Source: shivx.SourceString(source), Since: at, Until: until, Changed: at})
	p.detector.Pin(source)
	return until
}

// termOf is the term of the n-th offence, n ≥ 1.
func termOf(terms []time.Duration, n int) time.Duration {
	return terms[min(n, len(terms))-1]
}
