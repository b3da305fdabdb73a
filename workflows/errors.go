package workflows

import (
	"errors"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx/activities"
)

var nonRetryable = []string{
	activities.ErrPlugin, activities.ErrUnknownEffect, activities.ErrUnknownComponent, activities.ErrBusy,
	activities.ErrUnknownSet, activities.ErrUnknownGolden, activities.ErrUntrusted, activities.ErrRefused, activities.ErrDamaged,
	activities.ErrNotValid, activities.ErrOver, activities.ErrGoldenFailed, activities.ErrUnknownSubsystem,
}

// hostVanished says whether err means that no agent of the host took the work in time.
func hostVanished(err error) bool {
	timeout, ok := errors.AsType[*temporal.TimeoutError](err)
	return ok && timeout.TimeoutType() == enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START
}

// isType says whether err is an application error of the given type.
func isType(err error, name string) bool {
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	return ok && app.Type() == name
}

// reason returns the message of err for people, without Temporal's wrapping.
func reason(err error) string {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app.Message()
	}
	if hostVanished(err) {
		return "no agent of the host took the work in time"
	}
	if timeout, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		return "timed out: " + timeout.Message()
	}
	return err.Error()
}
