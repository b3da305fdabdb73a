package golden

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	engine "github.com/shivx/shivx/internal/golden"
)

// Resume ends the local restores that were killed: what had begun to swap is in place and is judged, what had
// not is removed; either way the services run afterwards. The error is restore.ErrBusy while a process of
// this host is restoring: its jobs are its own.
func (l *Local) Resume(ctx context.Context) error {
	if paths, err := jobs(l.Engine.Journals()); err != nil || len(paths) == 0 {
		return err
	}
	release, err := lockJobs(l.Engine.Journals())
	if err != nil {
		return err
	}
	defer release()
	return l.resumeAll(ctx)
}

// resumeAll resumes every job. The caller has the lock.
func (l *Local) resumeAll(ctx context.Context) error {
	paths, err := jobs(l.Engine.Journals())
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range paths {
		j, err := readJob(p)
		if err == nil {
			err = l.resume(ctx, j)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// resume ends one job. A restore that had to be undone has ended as well; what stays halfway is an error.
func (l *Local) resume(ctx context.Context, j job) error {
	j.Tries++
	one := &Local{Activities: l.Activities, Told: l.Told, job: j, restore: j.Restore}
	one.in = shivx.GoldenRestoreInput{Mode: j.Restore.Mode, KeepOld: j.Restore.KeepOld}
	one.in.Reason = "its process was killed"
	one.out.GoldenTarget, one.out.Started, one.out.Restore, one.out.Stopped = j.Restore.GoldenTarget, j.Began, j.Restore.Restore, j.Services
	err := one.takeUp(ctx)
	if err != nil && len(one.out.Stopped) > 0 {
		err = shivx.Hint(fmt.Errorf("%w; may be STOPPED: %s", err, strings.Join(one.out.Stopped, ", ")), shivx.HintOf(err))
	}
	_, err = one.end(ctx, err)
	if err != nil && one.ended {
		one.Logger.Warn("a restore that was cut off did not hold; the old state is back", "restore", j.Restore.Restore, "error", err)
		return nil
	}
	return err
}

// takeUp ends a job whose process was killed.
func (l *Local) takeUp(ctx context.Context) error {
	dir := l.Engine.Journals()
	if err := l.job.write(dir); err != nil {
		return err
	}
	var err error
	if l.policy, err = l.InspectSet(ctx, activities.InspectSetInput{GoldenTarget: l.restore.GoldenTarget}); err != nil {
		return Plain(err)
	}
	l.policy.Services = l.job.Services
	standing, err := l.Engine.Standing(ctx, l.restore.Restore)
	if err != nil {
		return err
	}
	switch standing {
	case engine.NewState:
		if err = l.startAgain(ctx); err == nil {
			err = l.job.remove(dir)
		}
	case engine.OldState:
		l.aborted = true
		err = l.compensate(ctx)
	case engine.Unjudged:
		l.swapped = true
		if err = l.bringUp(ctx); err != nil {
			err = errors.Join(err, l.compensate(ctx))
		}
	}
	return err
}
