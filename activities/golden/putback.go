package golden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/plugins/host"
)

// undoTimeout bounds the way back after a failure, beside the time that services take.
const undoTimeout = 10 * time.Minute

// insistTries and insistPause are how often, and after which pause, is tried again what must succeed.
const (
	insistTries = 3
	insistPause = time.Second
)

// again is the command that ends a restore that was left halfway.
const again = "shivx golden resume"

// stop stops the services in the reverse of the order in which they are started. That they may be stopped is
// written down before.
func (l *Local) stop(ctx context.Context) error {
	if len(l.policy.Services) == 0 {
		return nil
	}
	l.job.Services, l.job.Ways = l.policy.Services, map[string]way{}
	for _, name := range l.policy.Services {
		if w, _, err := l.Activities.way(ctx, name); err == nil { // or else its stop says why
			l.job.Ways[name] = w
		}
	}
	if err := l.job.write(l.Engine.Journals()); err != nil {
		return fmt.Errorf("write down which services are stopped: %w", err)
	}
	l.since, l.out.Stopped = time.Now(), l.policy.Services
	for _, name := range slices.Backward(l.policy.Services) {
		if err := l.service(ctx, shivx.GoldenStepStop, name); err != nil {
			return err
		}
	}
	return nil
}

// bringUp starts the services with the restored state, judges them, and ends the restore.
func (l *Local) bringUp(ctx context.Context) error {
	for _, name := range l.policy.Services {
		if err := l.service(ctx, shivx.GoldenStepStart, name); err != nil {
			return err
		}
	}
	l.up()
	if err := l.files(ctx, shivx.GoldenStepLoad, l.LoadRestore); err != nil {
		return err
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	l.healthy, l.out.Stopped = true, nil
	return l.conclude(context.WithoutCancel(ctx))
}

// conclude ends a restore that holds. That the old state could not be removed makes it no worse.
func (l *Local) conclude(ctx context.Context) error {
	if err := l.files(ctx, shivx.GoldenStepFinish, l.FinishRestore); err != nil {
		l.out.Message = "the old state was not removed, " + again + " tries again, and so does the next restore: " + err.Error()
		if err := l.job.hold(l.Engine.Journals()); err != nil {
			l.Logger.Error("the next restore takes this one for one that was given up, and keeps the old state", "error", err)
		}
		return nil
	}
	if err := l.job.remove(l.Engine.Journals()); err != nil {
		l.Logger.Error("the restore is over, but its job stays", "error", err)
	}
	return nil
}

// up notes for how long services were down.
func (l *Local) up() {
	if !l.since.IsZero() {
		l.out.Downtime = time.Since(l.since).Seconds()
	}
}

func (l *Local) check(ctx context.Context) error {
	if len(l.policy.Services) == 0 {
		return nil
	}
	return l.step(shivx.GoldenStepCheck, "", func() (activities.RestoreStep, error) {
		r, err := l.CheckServices(ctx, activities.CheckServicesInput{GoldenTarget: l.restore.GoldenTarget, Run: l.restore.Run,
			Restore: l.restore.Restore, Services: l.policy.Services, Timeout: l.policy.CheckTimeout})
		if err == nil && !r.Fit {
			err = errors.New(r.Summary)
		}
		return activities.RestoreStep{Summary: r.Summary}, err
	})
}

// compensate puts everything back as it was: the files, and then the services with them. It goes on when
// ctx has ended. Whatever it cannot put back, its error says what to do, and the job stays for the next try.
func (l *Local) compensate(ctx context.Context) error {
	if l.job.Restore.Restore == "" || l.healthy {
		return nil
	}
	limit := undoTimeout + time.Duration(2*len(l.policy.Services)*insistTries)*l.policy.ServiceTimeout.Std()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	l.nextTry()
	if err := l.oldState(ctx); err != nil {
		return l.stuck(err)
	}
	if err := l.startAgain(ctx); err != nil {
		return err
	}
	l.ended = true
	return l.job.remove(l.Engine.Journals())
}

// startAgain starts what was stopped.
func (l *Local) startAgain(ctx context.Context) error {
	var down []string
	var faults []error
	for _, name := range l.out.Stopped {
		if err := l.insist(ctx, func() error { return l.service(ctx, shivx.GoldenStepStart, name) }); err != nil {
			down, faults = append(down, name), append(faults, err)
		}
	}
	l.up()
	l.out.Stopped = down
	if len(down) > 0 {
		return shivx.Hint(fmt.Errorf("STOPPED, and could not be started again: %s: %w", strings.Join(down, ", "), errors.Join(faults...)),
			"their files are whole; repair the cause, then start them by hand or run: "+again)
	}
	return nil
}

// oldState puts the old files back.
func (l *Local) oldState(ctx context.Context) error {
	if !l.swapped {
		return l.files(ctx, shivx.GoldenStepDiscard, l.discard)
	}
	if err := l.stopAll(ctx); err != nil {
		return fmt.Errorf("the restored state is in place: %w", err)
	}
	if err := l.insist(ctx, func() error { return l.files(ctx, shivx.GoldenStepUndo, l.UndoRestore) }); err != nil {
		return fmt.Errorf("the old state could not be put back: %w", err)
	}
	l.swapped, l.undone = false, true
	return nil
}

// discard removes what was staged. To look how far a restore has come has removed it already, if it was cut off.
func (l *Local) discard(ctx context.Context, in activities.RestoreInput) (activities.RestoreStep, error) {
	r, err := l.DiscardRestore(ctx, in)
	if err == nil && l.removed {
		r = activities.RestoreStep{Summary: "what was staged is removed"}
	}
	return r, err
}

// stopAll stops the services, whether they run or not.
func (l *Local) stopAll(ctx context.Context) error {
	for _, name := range slices.Backward(l.policy.Services) {
		if err := l.insist(ctx, func() error { return l.service(ctx, shivx.GoldenStepStop, name) }); err != nil {
			return fmt.Errorf("%s cannot be stopped: %w", name, err)
		}
	}
	return nil
}

// stuck is the error of a host whose files are not back.
func (l *Local) stuck(err error) error {
	if len(l.out.Stopped) > 0 {
		err = fmt.Errorf("%w; STOPPED: %s", err, strings.Join(l.out.Stopped, ", "))
	}
	return shivx.Hint(err, "repair the cause, then run: "+again)
}

// insist tries again what must succeed.
func (*Local) insist(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || try == insistTries {
			return err
		}
		t := time.NewTimer(insistPause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		if ctx.Err() != nil {
			return err
		}
	}
}

func (l *Local) service(ctx context.Context, step shivx.GoldenStep, name string) error {
	return l.step(step, name, func() (activities.RestoreStep, error) {
		return l.Activities.service(ctx, activities.ServiceInput{GoldenTarget: l.restore.GoldenTarget, Run: l.restore.Run, Restore: l.restore.Restore,
			Service: name, Attempt: l.job.Tries + 1, Timeout: l.policy.ServiceTimeout}, step, l.way)
	})
}

// way is that of the component or, where the configuration does not know it any more, that of the job.
func (l *Local) way(ctx context.Context, name string) (way, host.Runner, error) {
	w, plugin, err := l.Activities.way(ctx, name)
	known, ok := l.job.Ways[name]
	if err == nil || !ok {
		return w, plugin, err
	}
	plugin, err = l.Plugins.Get(ctx, known.Plugin)
	return known, plugin, err
}
