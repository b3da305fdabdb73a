package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/shivx/shivx/plugins/sdk"
)

// failoverBefore is what the other server was before a failover.
type failoverBefore struct {
	State string `json:"state"`
}

// away brings the failover server in, if there is one, and takes the server out.
func (o haproxyOptions) away(ctx context.Context, req sdk.Request) ([]string, error) {
	if req.Plan {
		return o.planAway(ctx)
	}
	var changes []string
	if o.Failover != "" {
		if err := o.note(ctx, workFile(req, "failover.json")); err != nil {
			return nil, err
		}
		change, err := o.set(ctx, o.Failover, "ready")
		if err != nil {
			return nil, fmt.Errorf("nothing was taken out of traffic: %w", err)
		}
		if change != "" {
			changes = append(changes, change)
		}
	}
	more, err := o.takeOut(ctx, req)
	return append(changes, more...), err
}

// note writes down what the failover server was. One that is ready may be so by a failover
// that was never taken back, of which an earlier note tells.
func (o haproxyOptions) note(ctx context.Context, path string) error {
	now, err := o.state(ctx, o.Failover)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil && now.word() == "ready" {
		return nil
	}
	text, err := json.Marshal(failoverBefore{State: now.word()})
	if err != nil {
		return err
	}
	return keepOld(path, text)
}

// back brings the server in and gives the failover server the state it had.
func (o haproxyOptions) back(ctx context.Context, req sdk.Request) ([]string, error) {
	path := workFile(req, "failover.json")
	var before failoverBefore
	if data, err := os.ReadFile(path); o.Failover != "" && err == nil {
		if err := json.Unmarshal(data, &before); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	if req.Plan {
		changes := []string{"set " + o.name(o.Server) + " to ready and wait until it is up"}
		if before.State != "" && before.State != "ready" {
			changes = append(changes, "set "+o.name(o.Failover)+" back to "+before.State)
		}
		return changes, nil
	}
	var changes []string
	change, err := o.set(ctx, o.Server, "ready")
	if change != "" {
		changes = append(changes, change)
	}
	if err != nil || before.State == "" {
		return changes, err
	}
	if before.State != "ready" {
		if change, err = o.set(ctx, o.Failover, before.State); change != "" {
			changes = append(changes, change)
		}
	}
	return changes, errors.Join(err, removeOn(err, path))
}

// removeOn removes a note that is of no use once all went well.
func removeOn(err error, path string) error {
	if err != nil {
		return nil
	}
	return removeIfThere(path)
}

func (o haproxyOptions) planAway(ctx context.Context) ([]string, error) {
	var changes []string
	if o.Failover != "" {
		now, err := o.state(ctx, o.Failover)
		if err != nil {
			return nil, err
		}
		if !now.running() {
			changes = append(changes, fmt.Sprintf("set %s from %s to ready and wait until it is up", o.name(o.Failover), now))
		}
	}
	now, err := o.state(ctx, o.Server)
	if err != nil {
		return nil, err
	}
	if !now.maint() {
		changes = append(changes, fmt.Sprintf("set %s from %s to maint", o.name(o.Server), now))
	}
	return changes, nil
}
