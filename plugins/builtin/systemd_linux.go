package builtin

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"github.com/shivx/shivx/plugins/sdk"
)

// unit returns what systemd says of a unit, all of its kinds of properties together; gone says
// that it does not exist.
func (b *busControl) unit(ctx context.Context, unit string) (props map[string]any, gone bool, err error) {
	props, err = b.conn.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return nil, false, retryable(fmt.Errorf("properties of unit %s: %w", unit, err), systemdHint)
	}
	load, _ := props["LoadState"].(string)
	return props, load == "not-found", nil
}

// existing is unit for one that must exist.
func (s *unitStep) existing(ctx context.Context) (map[string]any, error) {
	props, gone, err := s.bus.unit(ctx, s.Unit)
	if err == nil && gone {
		err = sdk.Failf("list the units with: systemctl list-units --all", "unit %s is not-found", s.Unit)
	}
	return props, err
}

// set brings properties about until the next boot, and makes sure that systemd took them.
func (b *busControl) set(ctx context.Context, unit string, list []property) error {
	var props []dbus.Property
	for _, p := range list {
		props = append(props, dbus.Property{Name: p.bus, Value: godbus.MakeVariant(p.value)})
	}
	if err := b.conn.SetUnitPropertiesContext(ctx, unit, true, props...); err != nil {
		return failed(fmt.Errorf("set properties of unit %s: %w", unit, err), systemdHint)
	}
	after, _, err := b.unit(ctx, unit)
	if err != nil {
		return err
	}
	for _, p := range list {
		if now, _ := after[p.bus].(uint64); now != p.value {
			return sdk.Failf("systemctl show "+unit+" shows it", "unit %s has %s %s after it was set to %s", unit, p.name, p.show(now), p.show(p.value))
		}
	}
	return nil
}

// limit sets the properties.
func (s *unitStep) limit(ctx context.Context) ([]string, error) {
	props, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	if s.kept.Boot != s.boot { // what was set at run time ended with that boot
		s.kept = keptUnit{Unit: s.Unit, Action: s.Action, Boot: s.boot, Old: map[string]uint64{}}
	}
	for _, p := range s.want {
		now, ok := props[p.bus].(uint64)
		if !ok {
			return nil, sdk.Failf("see systemd.resource-control(5); is systemd too old for it?", "unit %s has no property %s", s.Unit, p.name)
		}
		if _, has := s.kept.Old[p.bus]; !has {
			s.kept.Old[p.bus] = now
		}
	}
	return s.change(ctx, props, s.want)
}

// unlimit puts the old values back.
func (s *unitStep) unlimit(ctx context.Context) ([]string, error) {
	props, gone, err := s.bus.unit(ctx, s.Unit)
	switch {
	case err != nil:
		return nil, err
	case gone:
		return []string{"unit " + s.Unit + " is gone; there is nothing to put back"}, nil
	case s.kept.Boot != s.boot:
		return []string{"the host has been started anew since; what was set at run time ended with that"}, nil
	}
	var old []property
	for _, bus := range slices.Sorted(maps.Keys(s.kept.Old)) {
		old = append(old, propertyOnBus(bus, s.kept.Old[bus]))
	}
	return s.change(ctx, props, old)
}

// change sets those properties of list that are not as they should be.
func (s *unitStep) change(ctx context.Context, props map[string]any, list []property) ([]string, error) {
	var changes []string
	var differ []property
	for _, p := range list {
		now, _ := props[p.bus].(uint64)
		if now == p.value {
			changes = append(changes, fmt.Sprintf("%s is %s already", p.name, p.show(now)))
			continue
		}
		differ = append(differ, p)
		changes = append(changes, fmt.Sprintf("%s: %s → %s", p.name, p.show(now), p.show(p.value)))
	}
	if s.req.Plan {
		return changes, nil
	}
	if err := s.keep(); err != nil {
		return nil, err
	}
	if len(differ) == 0 {
		return changes, nil
	}
	if err := s.bus.set(ctx, s.Unit, differ); err != nil {
		return nil, err
	}
	return changes, nil
}

// freezer returns the state of a unit that can be frozen: running, frozen, or on the way.
func freezer(unit string, props map[string]any) (string, error) {
	state, ok := props["FreezerState"].(string)
	if !ok {
		return "", sdk.Failf("use action: stop, or properties", "this systemd (older than 246) cannot freeze unit %s", unit)
	}
	return state, nil
}

func (s *unitStep) freeze(ctx context.Context) ([]string, error) {
	props, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	state, err := freezer(s.Unit, props)
	if err != nil {
		return nil, err
	}
	active, _ := props["ActiveState"].(string)
	switch {
	case !(unitState{Active: active}).up():
		return []string{fmt.Sprintf("unit %s is %s; there is nothing to freeze", s.Unit, active)}, nil
	case !s.shed:
		s.kept.Frozen = state == "frozen"
		if err := s.keep(); err != nil {
			return nil, err
		}
	}
	if state == "frozen" {
		return []string{"unit " + s.Unit + " is frozen already"}, nil
	}
	if !s.req.Plan {
		if err := s.bus.conn.FreezeUnit(ctx, s.Unit); err != nil {
			return nil, retryable(fmt.Errorf("freeze unit %s: %w", s.Unit, err), "cgroup v2 is needed; journalctl -u "+s.Unit+" may say why")
		}
	}
	return []string{fmt.Sprintf("unit %s: %s → frozen", s.Unit, state)}, nil
}

func (s *unitStep) thaw(ctx context.Context) ([]string, error) {
	props, gone, err := s.bus.unit(ctx, s.Unit)
	if err != nil {
		return nil, err
	}
	if gone {
		return []string{"unit " + s.Unit + " is gone; there is nothing to thaw"}, nil
	}
	state, err := freezer(s.Unit, props)
	if err != nil {
		return nil, err
	}
	switch {
	case s.kept.Frozen:
		return []string{"unit " + s.Unit + " was frozen before; it is left so"}, nil
	case state == "running":
		return []string{"unit " + s.Unit + " is running already"}, nil
	case !s.req.Plan:
		if err := s.bus.conn.ThawUnit(ctx, s.Unit); err != nil {
			return nil, retryable(fmt.Errorf("thaw unit %s: %w", s.Unit, err), "try by hand: systemctl thaw "+s.Unit)
		}
	}
	return []string{fmt.Sprintf("unit %s: %s → running", s.Unit, state)}, nil
}

// stop stops the unit. One that somebody started meanwhile is to run again afterwards.
func (s *unitStep) stop(ctx context.Context) ([]string, error) {
	before, err := s.bus.State(ctx, s.Unit)
	if err != nil {
		return nil, err
	}
	props, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	if transient, _ := props["Transient"].(bool); transient {
		return nil, sdk.Failf("use action: freeze, or properties", "unit %s is transient: once stopped it is gone and cannot be started again", s.Unit)
	}
	if !s.shed || before.up() && !s.kept.Up {
		s.kept.Up = before.up()
		if err := s.keep(); err != nil {
			return nil, err
		}
	}
	if !before.up() {
		return []string{fmt.Sprintf("unit %s is %s already", s.Unit, before.Active)}, nil
	}
	if !s.req.Plan {
		if err := s.bus.Do(ctx, "stop", s.Unit); err != nil {
			return nil, err
		}
		after, err := s.bus.State(ctx, s.Unit)
		if err != nil {
			return nil, err
		}
		if after.up() {
			return nil, sdk.Failf("what started it? systemctl status "+s.Unit, "unit %s is %s (%s) after it was stopped", s.Unit, after.Active, after.Sub)
		}
	}
	return []string{fmt.Sprintf("unit %s: %s (%s) → stopped", s.Unit, before.Active, before.Sub)}, nil
}

// startAgain starts the unit if it ran before.
func (s *unitStep) startAgain(ctx context.Context) ([]string, error) {
	if !s.kept.Up {
		return []string{"unit " + s.Unit + " did not run before; it is left so"}, nil
	}
	before, err := s.bus.State(ctx, s.Unit)
	if err != nil {
		return nil, err
	}
	if before.up() {
		return []string{fmt.Sprintf("unit %s is %s already", s.Unit, before.Active)}, nil
	}
	if !s.req.Plan {
		if err := s.bus.Do(ctx, "start", s.Unit); err != nil {
			return nil, err
		}
	}
	return []string{fmt.Sprintf("unit %s: %s → started", s.Unit, before.Active)}, nil
}

// start starts the unit.
func (s *unitStep) start(ctx context.Context) ([]string, error) {
	before, err := s.bus.State(ctx, s.Unit)
	if err != nil {
		return nil, err
	}
	if _, err := s.existing(ctx); err != nil {
		return nil, err
	}
	if !s.shed {
		s.kept.Up = before.up()
		if err := s.keep(); err != nil {
			return nil, err
		}
	}
	if before.up() {
		return []string{fmt.Sprintf("unit %s is %s already", s.Unit, before.Active)}, nil
	}
	if !s.req.Plan {
		if err := s.bus.Do(ctx, "start", s.Unit); err != nil {
			return nil, err
		}
	}
	return []string{fmt.Sprintf("unit %s: %s → started", s.Unit, before.Active)}, nil
}

// stopAgain stops the unit if it did not run before.
func (s *unitStep) stopAgain(ctx context.Context) ([]string, error) {
	if s.kept.Up {
		return []string{"unit " + s.Unit + " ran before; it is left so"}, nil
	}
	before, err := s.bus.State(ctx, s.Unit)
	if err != nil {
		return nil, err
	}
	if !before.up() {
		return []string{fmt.Sprintf("unit %s is %s already", s.Unit, before.Active)}, nil
	}
	if !s.req.Plan {
		if err := s.bus.Do(ctx, "stop", s.Unit); err != nil {
			return nil, err
		}
	}
	return []string{fmt.Sprintf("unit %s: %s → stopped", s.Unit, before.Active)}, nil
}
