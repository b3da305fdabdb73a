package health

import (
	"context"
	"errors"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// systemdProbe passes while the unit is active or reloads.
type systemdProbe struct{ unit string }

func newSystemdProbe(c config.SystemdCheck) (Probe, error) {
	if c.Unit == "" {
		return nil, shivx.Hint(errors.New("the unit is empty"), "write unit: NAME.service")
	}
	return &systemdProbe{c.Unit}, nil
}

func (p *systemdProbe) Check(ctx context.Context) error {
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return shivx.Hint(fmt.Errorf("unit %s: systemd is not reached over D-Bus: %w", p.unit, err),
			"the host must run systemd and the agent must reach /run/dbus/system_bus_socket; elsewhere use a process check")
	}
	defer conn.Close()
	properties, err := conn.GetUnitPropertiesContext(ctx, p.unit)
	if err != nil {
		return fmt.Errorf("unit %s: ask systemd: %w", p.unit, err)
	}
	return judgeUnit(p.unit, properties)
}

func judgeUnit(unit string, properties map[string]any) error {
	text := func(key string) string { s, _ := properties[key].(string); return s }
	active, sub := text("ActiveState"), text("SubState")
	switch {
	case active == "active" || active == "reloading":
		return nil
	case text("LoadState") == "not-found":
		return shivx.Hint(fmt.Errorf("systemd does not know the unit %s", unit), "systemctl list-units shows the names")
	case active == "":
		return fmt.Errorf("unit %s: systemd says nothing of its state", unit)
	}
	return fmt.Errorf("unit %s is %s (%s)", unit, active, sub)
}
