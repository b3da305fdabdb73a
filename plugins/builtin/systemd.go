package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// Systemd is the plugin "systemd": it sheds load by properties of a unit, such as CPUWeight, or
// by freezing or stopping it, and puts back what was before.
type Systemd struct {
	sdk.NoRecovery
	host *host
	bus  func() (*busControl, error)
}

var (
	_ sdk.Plugin         = (*Systemd)(nil)
	_ sdk.Isolator       = (*Systemd)(nil)
	_ sdk.OptionsChecker = (*Systemd)(nil)
)

// The actions.
const (
	actionProperty = "property"
	actionFreeze   = "freeze"
	actionStop     = "stop"
)

type systemdOptions struct {
	// Unit with its suffix, such as batch.service.
	Unit string `json:"unit"`
	// Action is property, freeze or stop; default: property.
	Action string `json:"action"`
	// Properties to set at run time, as systemctl set-property takes them.
	Properties map[string]json.RawMessage `json:"properties"`
}

var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.(service|slice|scope|socket|mount|swap|timer|path|target)$`)

// Describe says what the plugin is.
func (*Systemd) Describe() sdk.Description {
	return sdk.Description{
		Name: "systemd", Version: version, RecoveryType: "custom", Idempotent: true,
		Summary: "Sheds load by properties of a systemd unit, or by freezing or stopping it, and puts it back as it was",
	}
}

// CheckOptions checks the options of a hook.
func (*Systemd) CheckOptions(options json.RawMessage) error {
	_, _, err := parseSystemd(options)
	return err
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
	if !slices.Contains([]string{actionProperty, actionFreeze, actionStop}, o.Action) {
		return o, nil, sdk.BadOption("action", "write property, freeze or stop", "%q is none", o.Action)
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
	var changes []string
	switch s.Action {
	case actionStop:
		if err := p.host.notOurs(s.Unit, s.Action); err != nil {
			return sdk.Result{}, err
		}
		changes, err = s.stop(ctx)
	case actionFreeze:
		if err := p.host.notOurs(s.Unit, s.Action); err != nil {
			return sdk.Result{}, err
		}
		changes, err = s.freeze(ctx)
	default:
		changes, err = s.limit(ctx)
	}
	return sdk.Result{Summary: summary(req, changes, "shed load of unit "+s.Unit), Changes: changes}, err
}

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
	var changes []string
	switch s.Action {
	case actionStop:
		changes, err = s.startAgain(ctx)
	case actionFreeze:
		changes, err = s.thaw(ctx)
	default:
		changes, err = s.unlimit(ctx)
	}
	if err == nil && !req.Plan {
		err = removeIfThere(s.file)
	}
	return sdk.Result{Summary: summary(req, changes, "put unit "+s.Unit+" back as it was"), Changes: changes}, err
}

// keep makes what was found durable, before the effect.
func (s *unitStep) keep() error {
	if s.req.Plan {
		return nil
	}
	return keepJSON(s.file, s.kept)
}

// notOurs refuses to stop or freeze a unit that the agent runs in.
func (h *host) notOurs(unit, action string) error {
	data, err := os.ReadFile(filepath.Join(h.fs.root, "self/cgroup"))
	if err != nil {
		return fmt.Errorf("which unit the agent runs in: %w", err)
	}
	ours := unit == "-.slice"
	for line := range strings.Lines(string(data)) {
		// hierarchy-ID:controllers:path, whose parts are the names of units.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && (fields[1] == "" || fields[1] == "name=systemd") {
			ours = ours || slices.Contains(strings.Split(fields[2], "/"), unit)
		}
	}
	if ours {
		return sdk.BadOption("unit", "name the unit of what is to give way, and run the agent in another",
			"the agent itself runs in %s; after a %s it could not put anything back", unit, action)
	}
	return nil
}
