package sdktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// target is a small service: it is up or down, counts its starts, and has traffic or not.
type target struct {
	mu       sync.Mutex
	up       bool
	starts   int
	isolated bool
	notes    map[string]bool
}

func (x *target) change(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f()
}

func (x *target) state() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return fmt.Sprint(x.up, x.starts, x.isolated)
}

func (x *target) healthy() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.up {
		return errors.New("it is down")
	}
	return nil
}

func (x *target) suite(p sdk.Plugin) sdktest.Suite {
	return sdktest.Suite{
		Plugin:  p,
		Options: map[string]any{"name": "x"}, BadOptions: []any{map[string]any{"name": ""}},
		Break:    func() error { x.change(func() { x.up = false }); return nil },
		Healthy:  x.healthy,
		State:    x.state,
		Isolated: func() (bool, error) { x.mu.Lock(); defer x.mu.Unlock(); return x.isolated, nil },
		Timeout:  time.Second, Settle: 100 * time.Millisecond, StopWithin: 200 * time.Millisecond,
	}
}

// honest keeps the contract. The bad plugins below change one thing each.
type honest struct {
	x *target
	// fault names the one thing that is wrong.
	fault string
}

var (
	_ sdk.Isolator       = honest{}
	_ sdk.Validator      = honest{}
	_ sdk.Undoer         = honest{}
	_ sdk.Resumer        = honest{}
	_ sdk.OptionsChecker = honest{}
)

type options struct {
	Name string `json:"name"`
}

func (p honest) Describe() sdk.Description {
	d := sdk.Description{Name: "honest", Version: "1.0", RecoveryType: "process", Summary: "starts the target", Idempotent: true}
	switch p.fault {
	case "no version":
		d.Version = ""
	case "bad name":
		d.Name = "Honest Plugin"
	case "bad type":
		d.RecoveryType = "magic"
	}
	return d
}

func (p honest) CheckOptions(raw json.RawMessage) error {
	var o options
	switch p.fault {
	case "takes any option":
		_ = json.Unmarshal(raw, &o)
		return nil
	case "vague about options":
		if sdk.Decode(raw, &o) != nil || o.Name == "" {
			return errors.New("bad configuration")
		}
		return nil
	case "panics on options":
		if sdk.Decode(raw, &o) == nil && o.Name == "" {
			panic("no name")
		}
	}
	if err := sdk.Decode(raw, &o); err != nil {
		return err
	}
	if o.Name == "" {
		return sdk.BadOption("name", "give the target's name", "must not be empty")
	}
	return nil
}

func (p honest) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	if err := p.CheckOptions(req.Options); err != nil {
		return sdk.Result{}, err
	}
	if req.Plan && p.fault != "acts while planning" {
		if p.fault == "plan says nothing" {
			return sdk.Result{}, nil
		}
		return sdk.Result{Summary: "would start it"}, nil
	}
	switch p.fault {
	case "lies":
		return sdk.Result{Summary: "started it"}, nil
	case "hangs":
		<-ctx.Done()
		return sdk.Result{}, ctx.Err()
	case "hangs for ever":
		select {}
	case "slow and deaf":
		time.Sleep(700 * time.Millisecond)
	case "gives up":
		return sdk.Result{}, errors.New("cannot start it")
	case "empty progress":
		req.Progress("")
	}
	req.Progress("starting it")
	p.x.change(func() {
		if !p.x.notes[req.Key] && !p.x.up || p.fault == "doubles" {
			p.x.starts++
		}
		p.x.notes[req.Key] = true
		p.x.up = true
	})
	if p.fault == "no summary" {
		return sdk.Result{}, nil
	}
	return sdk.Result{Summary: "started it"}, nil
}

func (p honest) Isolate(_ context.Context, req sdk.Request) (sdk.Result, error) {
	if !req.Plan && p.fault != "does not isolate" {
		p.x.change(func() { p.x.isolated = true })
	}
	return sdk.Result{Summary: "no traffic"}, nil
}

func (p honest) Reintegrate(_ context.Context, req sdk.Request) (sdk.Result, error) {
	if !req.Plan && p.fault != "does not reintegrate" {
		p.x.change(func() { p.x.isolated = false })
	}
	return sdk.Result{Summary: "traffic"}, nil
}

func (p honest) Validate(context.Context, sdk.Request) (sdk.Result, error) {
	switch p.fault {
	case "validate acts":
		p.x.change(func() { p.x.starts++ })
	case "never fit":
		return sdk.Result{}, errors.New("I do not like it")
	}
	return sdk.Result{Summary: "fit"}, nil
}

func (p honest) Undo(_ context.Context, req sdk.Request) (sdk.Result, error) {
	if !req.Plan && p.fault != "does not undo" {
		p.x.change(func() {
			if p.x.notes[req.Key] {
				p.x.up, p.x.notes[req.Key] = false, false
				p.x.starts--
			}
		})
	}
	return sdk.Result{Summary: "stopped it"}, nil
}

func (p honest) Mark(context.Context, sdk.Step, sdk.Request) (string, error) {
	if p.fault == "mark acts" {
		p.x.change(func() { p.x.starts++ })
	}
	return fmt.Sprint(p.x.count()), nil
}

func (p honest) Done(_ context.Context, _ sdk.Step, req sdk.Request) (bool, error) {
	switch p.fault {
	case "always done":
		return true, nil
	case "never done":
		return false, nil
	case "cannot tell":
		return false, sdk.ErrUnknown
	}
	return fmt.Sprint(p.x.count()) != req.Mark, nil
}

func (x *target) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.starts
}
