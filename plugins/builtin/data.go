package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// Data is the plugin "data": it restores a component's state from the last checkpoint taken
// while the component was healthy, with the service stopped meanwhile. Undo puts back the state
// of before the recovery.
type Data struct {
	host  *host
	store *checkpoint.Store
}

var (
	_ sdk.Plugin         = (*Data)(nil)
	_ sdk.Undoer         = (*Data)(nil)
	_ sdk.Resumer        = (*Data)(nil)
	_ sdk.OptionsChecker = (*Data)(nil)
)

type dataOptions struct {
	serviceOptions
	// Paths limits the restore; default: all of the checkpoint.
	Paths []string `json:"paths"`
}

// Describe says what the plugin is.
func (*Data) Describe() sdk.Description {
	return sdk.Description{
		Name: "data", Version: version, RecoveryType: "data", Destructive: true, Idempotent: true,
		Summary: "Restores the state from the last healthy checkpoint, with the service stopped meanwhile",
	}
}

// CheckOptions checks the options of a strategy.
func (*Data) CheckOptions(options json.RawMessage) error {
	var o dataOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	for _, p := range o.Paths {
		if !filepath.IsAbs(p) {
			return sdk.BadOption("paths", "write an absolute path", "%q is relative", p)
		}
	}
	if len(o.Start) == 0 && o.Unit == "" && (len(o.Stop) > 0 || o.PIDFile != "") {
		return sdk.BadOption("start", "say how the service is started again", "a service that is stopped must be started, too")
	}
	return nil
}

// Recover restores from Request.HealthyID.
func (d *Data) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	if req.HealthyErr != nil {
		return sdk.Result{}, unread("last healthy checkpoint", req, req.HealthyErr)
	}
	if req.HealthyID == "" {
		return sdk.Result{}, sdk.Failf("set state.every, so that checkpoints are taken while the component is healthy",
			"there is no healthy checkpoint of %s to restore from", req.Component)
	}
	return d.restore(ctx, req, req.HealthyID, d.sound)
}

// Undo puts back the state of before the recovery, from Request.CheckpointID.
func (d *Data) Undo(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	if req.CheckpointErr != nil {
		return sdk.Result{}, unread("checkpoint of the state before the recovery", req, req.CheckpointErr)
	}
	if req.CheckpointID == "" {
		return sdk.Result{}, sdk.Failf("set state.paths; the old state may also lie beside the restored, in a folder named .shivx-kept-…",
			"there is no checkpoint of the state before the recovery of %s", req.Component)
	}
	return d.restore(ctx, req, req.CheckpointID, d.whole)
}

// restore puts back a checkpoint, or the one that choose returns instead with a note.
func (d *Data) restore(ctx context.Context, req sdk.Request, id string, choose chooser) (sdk.Result, error) {
	o, s, err := d.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	c, err := d.store.Get(ctx, id)
	if err != nil {
		return sdk.Result{}, fromStore(err)
	}
	leave, err := d.host.alone(ctx, req.Component)
	if err != nil {
		return sdk.Result{}, err
	}
	defer leave()
	done, err := d.complete(ctx, o, s, c)
	if err != nil && !errors.Is(err, checkpoint.ErrDamaged) {
		return sdk.Result{}, err
	}
	if done {
		return already(s, c), nil
	}
	if req.Plan {
		return d.plan(ctx, o, s, c)
	}
	c, notes, err := choose(ctx, req, c)
	if err != nil {
		return sdk.Result{}, fromStore(err)
	}
	changes, err := d.swap(ctx, o, s, c)
	return sdk.Result{
		Summary: fmt.Sprintf("restored %s from the %s checkpoint of %s", req.Component, c.Kind, c.Taken.Format(time.DateTime)),
		Changes: append(notes, changes...),
	}, err
}

func (d *Data) open(req sdk.Request) (dataOptions, service, error) {
	if d.store == nil {
		return dataOptions{}, service{}, errors.New("the agent keeps no checkpoints")
	}
	if err := d.CheckOptions(req.Options); err != nil {
		return dataOptions{}, service{}, err
	}
	var o dataOptions
	err := req.Decode(&o)
	return o, service{serviceOptions: o.serviceOptions, host: d.host, req: req}, err
}

// swap stops the service, restores and starts it. What would not be restored is refused while the service still runs.
func (d *Data) swap(ctx context.Context, o dataOptions, s service, c checkpoint.Checkpoint) ([]string, error) {
	if err := d.store.Check(ctx, c, d.restoreOptions(o, s.req)...); err != nil {
		return nil, fromStore(err)
	}
	changes, err := s.halt(ctx)
	if err != nil {
		return changes, err
	}
	got, err := d.store.Restore(ctx, c, progressBytes(s.req, "restored"), d.restoreOptions(o, s.req)...)
	changes = append(changes, describe(got)...)
	if err != nil {
		return changes, fromStore(err)
	}
	changes = append(changes, warnings(c)...)
	more, err := s.launch(ctx)
	return append(changes, more...), err
}

// restoreOptions keep the old state beside the new one when no checkpoint holds it.
func (d *Data) restoreOptions(o dataOptions, req sdk.Request) []checkpoint.RestoreOption {
	var opts []checkpoint.RestoreOption
	if req.CheckpointID == "" {
		opts = append(opts, checkpoint.KeepOld())
	}
	if len(o.Paths) > 0 {
		opts = append(opts, checkpoint.Only(o.Paths...))
	}
	return opts
}

// halt stops the service.
func (s service) halt(ctx context.Context) ([]string, error) {
	if !s.managed() {
		return nil, nil
	}
	if s.Unit != "" {
		return s.unitJob(ctx, "stop")
	}
	return s.stop(ctx)
}

// launch starts the service.
func (s service) launch(ctx context.Context) ([]string, error) {
	if !s.managed() {
		return nil, nil
	}
	if s.Unit != "" {
		return s.unitJob(ctx, "start")
	}
	return s.start(ctx)
}

func (d *Data) plan(ctx context.Context, o dataOptions, s service, c checkpoint.Checkpoint) (sdk.Result, error) {
	if err := d.store.Check(ctx, c, d.restoreOptions(o, s.req)...); err != nil {
		return sdk.Result{}, fromStore(err)
	}
	var changes []string
	var err error
	switch {
	case s.Unit != "":
		changes, err = s.unitJob(ctx, "stop")
	case s.managed():
		changes, err = s.planStop()
	}
	if err != nil {
		return sdk.Result{}, err
	}
	delta, err := d.compare(ctx, o, c)
	if err != nil {
		return sdk.Result{}, err
	}
	changes = append(changes, fmt.Sprintf("restore %d entries (%d bytes) from checkpoint %s of %s; the live state has %s",
		c.Entries, c.Bytes, c.ID, c.Taken.Format(time.DateTime), delta))
	changes = append(changes, warnings(c)...)
	switch {
	case s.Unit != "":
		changes = append(changes, "start unit "+s.Unit)
	case s.managed():
		changes = append(changes, s.planStart())
	}
	return sdk.Result{Summary: summary(s.req, changes, ""), Changes: changes}, nil
}

func (d *Data) compare(ctx context.Context, o dataOptions, c checkpoint.Checkpoint) (checkpoint.Delta, error) {
	delta, err := d.store.Compare(ctx, c, config.State{Paths: c.Paths})
	if err != nil || len(o.Paths) == 0 {
		return delta, err
	}
	names, err := c.Held(o.Paths)
	return delta.Within(names), err
}

// complete says whether the restore and the start took place under this key. A service that is
// started is started last; without one the state itself tells, where it could be restored at all.
func (d *Data) complete(ctx context.Context, o dataOptions, s service, c checkpoint.Checkpoint) (bool, error) {
	if s.Unit != "" && s.req.Mark == "" {
		return false, nil
	}
	if s.managed() {
		return s.done(ctx)
	}
	if err := d.store.Check(ctx, c, d.restoreOptions(o, s.req)...); err != nil {
		return false, fromStore(err)
	}
	delta, err := d.compare(ctx, o, c)
	return err == nil && len(delta.Changes) == 0, err
}

// Mark identifies the instance that runs before a step.
func (d *Data) Mark(ctx context.Context, step sdk.Step, req sdk.Request) (string, error) {
	if step != sdk.StepRecover && step != sdk.StepUndo {
		return "", sdk.ErrUnknown
	}
	_, s, err := d.open(req)
	if err != nil || !s.managed() {
		return "", err
	}
	return s.mark(ctx)
}

// Done says whether the state was restored and the service started.
func (d *Data) Done(ctx context.Context, step sdk.Step, req sdk.Request) (bool, error) {
	id := map[sdk.Step]string{sdk.StepRecover: req.HealthyID, sdk.StepUndo: req.CheckpointID}[step]
	if id == "" {
		return false, sdk.ErrUnknown
	}
	o, s, err := d.open(req)
	if err != nil {
		return false, err
	}
	c, err := d.store.Get(ctx, id)
	if err != nil {
		return false, fromStore(err)
	}
	done, err := d.complete(ctx, o, s, c)
	if errors.Is(err, checkpoint.ErrDamaged) {
		return false, sdk.ErrUnknown // an older one may be there now
	}
	return done, err
}
