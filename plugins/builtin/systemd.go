package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx/plugins/sdk"
)

// Systemd is the plugin "systemd": it changes properties of a unit, such as CPUWeight, or freezes,
// stops or starts it, to shed load or as a recovery, and puts back what was before.
type Systemd struct {
	host *host
	bus  func() (*busControl, error)
}

var (
	_ sdk.Plugin         = (*Systemd)(nil)
	_ sdk.Isolator       = (*Systemd)(nil)
	_ sdk.Undoer         = (*Systemd)(nil)
	_ sdk.OptionsChecker = (*Systemd)(nil)
)

// The actions.
const (
	actionProperty = "property"
	actionFreeze   = "freeze"
	actionStop     = "stop"
	actionStart    = "start"
)

type systemdOptions struct {
	// Unit with its suffix, such as batch.service.
	Unit string `json:"unit"`
	// Action is property, freeze, stop or start; default: property.
	Action string `json:"action"`
	// Properties to set at run time, as systemctl set-property takes them.
	Properties map[string]json.RawMessage `json:"properties"`
}

var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.(service|slice|scope|socket|mount|swap|timer|path|target)$`)

// Describe says what the plugin is.
func (*Systemd) Describe() sdk.Description {
	return sdk.Description{
		Name: "systemd", Version: version, RecoveryType: "custom", Idempotent: true,
		Summary: "Changes properties of a systemd unit, freezes, stops or starts it, and puts it back as it was",
	}
}

// CheckOptions checks the options of a hook.
func (*Systemd) CheckOptions(options json.RawMessage) error {
	o, want, err := parseSystemd(options)
	if err != nil {
		return err
	}
	return o.vital(want)
}

func parseSystemd(options json.RawMessage) (o systemdOptions, want []property, err error) {
	if err := sdk.Decode(options, &o); err != nil {
		return o, nil, err
	}
	if !unitName.MatchString(o.Unit) {
		return o, nil, sdk.BadOption("unit", "write its full name, such as batch.service; systemctl list-units shows them", "%q is not the name of a unit", o.Unit)
	}
	if o.Action == "" {
		o.Action = actionProperty
	}
	if !slices.Contains([]string{actionProperty, actionFreeze, actionStop, actionStart}, o.Action) {
		return o, nil, sdk.BadOption("action", "write property, freeze, stop or start", "%q is none", o.Action)
	}
	kind := strings.TrimPrefix(filepath.Ext(o.Unit), ".")
	switch {
	case o.Action != actionProperty && len(o.Properties) > 0:
		return o, nil, sdk.BadOption("properties", "leave them out, or use another hook for them", "are not set by action %s", o.Action)
	case o.Action == actionFreeze && !slices.Contains([]string{"service", "slice", "scope"}, kind):
		return o, nil, sdk.BadOption("unit", "name a service, slice or scope", "a %s cannot be frozen", kind)
	case o.Action == actionProperty && slices.Contains([]string{"timer", "path", "target"}, kind):
		return o, nil, sdk.BadOption("unit", "name the service it starts, or write action: stop", "a %s has no processes to limit", kind)
	case o.Action == actionProperty && len(o.Properties) == 0:
		return o, nil, sdk.BadOption("properties", `for example properties: {CPUWeight: 20}; or write action: freeze or action: stop`, "nothing says what to do")
	}
	want, err = parseProperties(o.Properties)
	return o, want, err
}

// keptUnit is what was found before the first effect.
type keptUnit struct {
	Unit   string `json:"unit"`
	Action string `json:"action"`
	// Boot is when Old was found: properties set at run time last until the next boot.
	Boot string `json:"boot,omitempty"`
	// Old has the properties by their names on the bus.
	Old map[string]uint64 `json:"old,omitempty"`
	// Frozen and Up say how the unit was.
	Frozen bool `json:"frozen,omitempty"`
	Up     bool `json:"up,omitempty"`
}

// unitStep is one step under way.
type unitStep struct {
	systemdOptions
	req  sdk.Request
	want []property
	bus  *busControl
	file string
	boot string
	kept keptUnit
	// shed says that there are kept values.
	shed bool
}

func (p *Systemd) open(ctx context.Context, req sdk.Request) (s *unitStep, done func(), err error) {
	s = &unitStep{req: req}
	if s.systemdOptions, s.want, err = parseSystemd(req.Options); err != nil {
		return nil, nil, err
	}
	if s.boot, err = p.host.bootID(); err != nil {
		return nil, nil, err
	}
	if s.file, err = keptFile(req, "systemd", s.Action+" "+s.Unit); err != nil {
		return nil, nil, err
	}
	leave, err := p.host.alone(ctx, s.file)
	if err != nil {
		return nil, nil, err
	}
	if s.shed, err = readKept(s.file, &s.kept); err == nil {
		s.bus, err = p.bus()
	}
	if err != nil {
		leave()
		return nil, nil, err
	}
	return s, func() { s.bus.Close(); leave() }, nil
}

// Isolate sheds the load; what it finds before the first time is kept.
func (p *Systemd) Isolate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	s, done, err := p.open(ctx, req)
	if err != nil {
		return sdk.Result{}, err
	}
	defer done()
	if !s.shed {
		s.kept = keptUnit{Unit: s.Unit, Action: s.Action}
	}
	if err := p.host.spare(s); err != nil {
		return sdk.Result{}, err
	}
	var changes []string
	switch s.Action {
	case actionStop:
		changes, err = s.stop(ctx)
	case actionStart:
		changes, err = s.start(ctx)
	case actionFreeze:
		changes, err = s.freeze(ctx)
	default:
		changes, err = s.limit(ctx)
	}
	if err != nil && !s.shed && !req.Plan {
		return sdk.Result{}, errors.Join(err, s.takeBack(ctx))
	}
	return sdk.Result{Summary: summary(req, changes, "shed load of unit "+s.Unit), Changes: changes}, err
}

// takeBack puts back what a step that failed may have changed: what it found would else be put
// back after that of hooks that shed load later.
func (s *unitStep) takeBack(ctx context.Context) error {
	found, err := readKept(s.file, &s.kept)
	if err != nil || !found {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTimeout)
	defer cancel()
	if _, err := s.restore(ctx); err != nil {
		return err
	}
	return removeIfThere(s.file)
}

// takeBackTimeout bounds the calls to systemd after a failed step.
const takeBackTimeout = 500 * time.Millisecond

// Reintegrate puts back what Isolate found.
func (p *Systemd) Reintegrate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	s, done, err := p.open(ctx, req)
	if err != nil {
		return sdk.Result{}, err
	}
	defer done()
	if !s.shed {
		return sdk.Result{Summary: "nothing was shed of unit " + s.Unit + "; nothing to put back"}, nil
	}
	changes, err := s.restore(ctx)
	if err == nil && !req.Plan {
		err = removeIfThere(s.file)
	}
	return sdk.Result{Summary: summary(req, changes, "put unit "+s.Unit+" back as it was"), Changes: changes}, err
}

// restore puts back what is kept.
func (s *unitStep) restore(ctx context.Context) ([]string, error) {
	switch s.Action {
	case actionStop:
		return s.startAgain(ctx)
	case actionStart:
		return s.stopAgain(ctx)
	case actionFreeze:
		return s.thaw(ctx)
	}
	return s.unlimit(ctx)
}

// keep makes what was found durable, before the effect.
func (s *unitStep) keep() error {
	if s.req.Plan {
		return nil
	}
	return keepJSON(s.file, s.kept)
}
