package builtin

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/shivx/shivx/plugins/sdk"
)

// unitState is what systemd says of a unit.
type unitState struct {
	// Load is "loaded" for a unit that exists.
	Load   string
	Active string
	Sub    string
	// Invocation changes with each start; "" while the unit has never run.
	Invocation string
}

// up says whether the unit runs or is about to.
func (u unitState) up() bool {
	return u.Active == "active" || u.Active == "activating" || u.Active == "reloading"
}

// unitControl is what is needed of systemd.
type unitControl interface {
	State(ctx context.Context, unit string) (unitState, error)
	// Do runs a job ("restart", "stop" or "start") to its end.
	Do(ctx context.Context, job, unit string) error
	Close()
}

const systemdHint = "is systemd running here, and may the agent's user control units? try: systemctl status"

// systemd connects to the system's D-Bus; root needs no bus daemon for it.
func systemd() (*busControl, error) {
	conn, err := dbus.NewWithContext(context.Background())
	if err != nil {
		return nil, retryable(fmt.Errorf("connect to systemd: %w", err), systemdHint)
	}
	return &busControl{conn: conn}, nil
}

func systemdUnits() (unitControl, error) {
	b, err := systemd()
	if err != nil {
		return nil, err
	}
	return b, nil
}

type busControl struct{ conn *dbus.Conn }

func (b *busControl) Close() { b.conn.Close() }

func (b *busControl) State(ctx context.Context, unit string) (unitState, error) {
	props, err := b.conn.GetUnitPropertiesContext(ctx, unit)
	if err != nil {
		return unitState{}, retryable(fmt.Errorf("state of unit %s: %w", unit, err), systemdHint)
	}
	text := func(name string) string { s, _ := props[name].(string); return s }
	id, _ := props["InvocationID"].([]byte)
	u := unitState{Load: text("LoadState"), Active: text("ActiveState"), Sub: text("SubState"), Invocation: hex.EncodeToString(id)}
	if u.Load == "not-found" || u.Load == "masked" {
		return u, sdk.Failf("list the units with: systemctl list-units --all", "unit %s is %s", unit, u.Load)
	}
	return u, nil
}

func (b *busControl) Do(ctx context.Context, job, unit string) error {
	// A unit that failed too often is refused until its counter is reset.
	if job != "stop" {
		_ = b.conn.ResetFailedUnitContext(ctx, unit)
	}
	ended := make(chan string, 1)
	var err error
	switch job {
	case "restart":
		_, err = b.conn.RestartUnitContext(ctx, unit, "replace", ended)
	case "start":
		_, err = b.conn.StartUnitContext(ctx, unit, "replace", ended)
	case "stop":
		_, err = b.conn.StopUnitContext(ctx, unit, "replace", ended)
	default:
		err = fmt.Errorf("unknown job %q", job)
	}
	if err != nil {
		return retryable(fmt.Errorf("%s unit %s: %w", job, unit, err), systemdHint)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s unit %s: %w", job, unit, ctx.Err())
	case result := <-ended:
		if result != "done" {
			return sdk.Failf("journalctl -u "+unit+" says why", "%s unit %s: systemd's job ended with %q", job, unit, result)
		}
	}
	return nil
}

// unitJob runs one job, or says that it would.
func (s service) unitJob(ctx context.Context, job string) ([]string, error) {
	units, err := s.host.units()
	if err != nil {
		return nil, err
	}
	defer units.Close()
	before, err := units.State(ctx, s.Unit)
	if err != nil {
		return nil, err
	}
	if s.req.Plan {
		return []string{fmt.Sprintf("%s unit %s, now %s (%s)", job, s.Unit, before.Active, before.Sub)}, nil
	}
	if err := units.Do(ctx, job, s.Unit); err != nil {
		return nil, err
	}
	after, err := units.State(ctx, s.Unit)
	if err != nil {
		return nil, err
	}
	if after.up() != (job != "stop") {
		return nil, sdk.Failf("journalctl -u "+s.Unit+" says why", "%s unit %s: it is %s (%s) afterwards", job, s.Unit, after.Active, after.Sub)
	}
	return []string{fmt.Sprintf("%s unit %s: %s became %s (%s)", job, s.Unit, before.Active, after.Active, after.Sub)}, nil
}

// unitMark is the invocation under way.
func (s service) unitMark(ctx context.Context) (unitState, error) {
	units, err := s.host.units()
	if err != nil {
		return unitState{}, err
	}
	defer units.Close()
	return units.State(ctx, s.Unit)
}
