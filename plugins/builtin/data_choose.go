package builtin

import (
	"context"
	"errors"
	"fmt"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/plugins/sdk"
)

// chooser returns the checkpoint to restore, of which all is verified, with notes for people.
type chooser func(ctx context.Context, req sdk.Request, c checkpoint.Checkpoint) (checkpoint.Checkpoint, []string, error)

// whole takes the checkpoint, or none.
func (d *Data) whole(ctx context.Context, req sdk.Request, c checkpoint.Checkpoint) (checkpoint.Checkpoint, []string, error) {
	req.Progress("verifying checkpoint %s", c.ID)
	return c, nil, d.store.Verify(ctx, c)
}

// sound takes the checkpoint or, when that is damaged, the newest of those before it that is whole: data of an hour
// ago is better than none.
func (d *Data) sound(ctx context.Context, req sdk.Request, c checkpoint.Checkpoint) (checkpoint.Checkpoint, []string, error) {
	_, _, damage := d.whole(ctx, req, c)
	if !errors.Is(damage, checkpoint.ErrDamaged) {
		return c, nil, damage
	}
	older, err := d.store.Before(ctx, c)
	if err != nil {
		return c, nil, errors.Join(damage, err)
	}
	notes := []string{fmt.Sprintf("note: checkpoint %s is damaged, so that an older one was taken", c.ID)}
	for _, o := range older {
		_, _, err := d.whole(ctx, req, o)
		if err == nil {
			return o, notes, nil
		}
		if !errors.Is(err, checkpoint.ErrDamaged) {
			return o, nil, err
		}
		notes = append(notes, fmt.Sprintf("note: checkpoint %s is damaged, too", o.ID))
	}
	return c, nil, damage
}

// unread says that a checkpoint that is needed may be there, and cannot be read.
func unread(what string, req sdk.Request, err error) error {
	return fromStore(fmt.Errorf("the %s of %s cannot be read: %w", what, req.Component, err))
}
