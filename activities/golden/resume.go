package golden

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/shivx/shivx"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/restore"
)

// Resume ends the local restores that were killed: what had begun to swap is in place and is judged, what had
// not is removed; either way the services run afterwards. Then it does what backups that were killed owe, such as to
// start what they had stopped. The error is restore.ErrBusy while a process of this host is restoring: its jobs are
// its own, and nothing is started.
func (l *Local) Resume(ctx context.Context) error {
	err := l.resumeRestores(ctx)
	if errors.Is(err, restore.ErrBusy) {
		return err
	}
	return errors.Join(err, l.Engine.ResumeSources(ctx))
}

func (l *Local) resumeRestores(ctx context.Context) error {
	halfway, err := jobs(l.Engine.Journals(), jobSuffix)
	if err != nil {
		return err
	}
	hold, err := jobs(l.Engine.Journals(), holdSuffix)
	if err != nil || len(halfway)+len(hold) == 0 {
		return err
	}
	release, err := lockJobs(l.Engine.Journals())
	if err != nil {
		return err
	}
	defer release()
	if err := l.may(); err != nil {
		return err
	}
	return l.resumeAll(ctx)
}

// resumeAll resumes every job, and removes the old states of restores that hold; one that cannot be removed is tried
// again the next time, and keeps nothing waiting. The caller has the lock.
func (l *Local) resumeAll(ctx context.Context) error {
	hold, err := jobs(l.Engine.Journals(), holdSuffix)
	if err != nil {
		return err
	}
	for _, p := range hold {
		if err := l.finishHeld(ctx, p); err != nil {
			l.Logger.Warn("the old state of a restore that holds was not removed", "job", p, "error", err)
		}
	}
	paths, err := jobs(l.Engine.Journals(), jobSuffix)
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

// finishHeld removes the old state of a restore that holds, and then its job. One of which no more is known than that
// it has ended has no old state.
func (l *Local) finishHeld(ctx context.Context, path string) error {
	j, err := readJob(path)
	if err != nil {
		return err
	}
	one := &Local{Activities: l.Activities, Told: l.Told, restore: j.Restore}
	if err := one.files(ctx, shivx.GoldenStepFinish, one.FinishRestore); err != nil && !errors.Is(err, engine.ErrOver) {
		return err
	}
	return os.Remove(path)
}

// resume ends one job. A restore that had to be undone has ended as well; what stays halfway is an error.
func (l *Local) resume(ctx context.Context, j job) error {
	one := &Local{Activities: l.Activities, Told: l.Told, job: j, restore: j.Restore, policy: j.Policy}
	one.policy.Services = j.Services
	one.in = shivx.GoldenRestoreInput{Mode: j.Restore.Mode, KeepOld: j.Restore.KeepOld}
	one.in.Reason = "its process was killed"
	one.out.Golden = &shivx.GoldenInfo{ID: j.Restore.Golden, Set: j.Restore.Set} // its store need not be there
	one.out.GoldenTarget, one.out.Started, one.out.Restore, one.out.Stopped = j.Restore.GoldenTarget, j.Began, j.Restore.Restore, j.Services
	err := one.takeUp(ctx)
	if err != nil && len(one.out.Stopped) > 0 {
		err = shivx.Hint(fmt.Errorf("%w; may be STOPPED: %s", err, strings.Join(one.out.Stopped, ", ")), shivx.HintOf(err))
	}
	res, err := one.end(ctx, err)
	if l.Ended != nil {
		l.Ended(res)
	}
	if err != nil && one.ended {
		one.Logger.Warn("a restore that was cut off did not hold; the old state is back", "restore", j.Restore.Restore, "error", err)
		return nil
	}
	return err
}

// takeUp ends a job whose process was killed.
func (l *Local) takeUp(ctx context.Context) error {
	l.nextTry()
	l.try = l.job.Tries
	if err := l.halt(ctx); err != nil {
		return err
	}
	before, err := l.Engine.State(l.restore.Restore)
	if err != nil {
		return err
	}
	standing, err := l.Engine.Standing(ctx, l.restore.Restore)
	if err != nil {
		return err
	}
	switch standing {
	case engine.NewState:
		if err = l.startAgain(ctx); err == nil {
			err = l.job.remove(l.Engine.Journals())
		}
	case engine.OldState:
		l.aborted, l.removed = true, before == restore.StateStaging || before == restore.StateStaged
		err = l.compensate(ctx)
	case engine.Unjudged:
		l.swapped = true
		if err = l.bringUp(ctx); err != nil {
			err = errors.Join(err, l.compensate(ctx))
		}
	}
	return err
}

// nextTry counts a try, whose stops and starts are effects of their own. One that cannot be written down, as on a full
// disk, is not known to the next: it has the time for its number.
func (l *Local) nextTry() {
	l.job.Tries++
	if err := l.job.write(l.Engine.Journals()); err != nil {
		l.job.Tries = int(time.Now().UnixMilli())
		l.Logger.Error("the job of the restore could not be written", "error", err)
	}
}

// halt stops the services before files are exchanged: after a power failure the host has started them by
// itself, with what was in place by then.
func (l *Local) halt(ctx context.Context) error {
	state, err := l.Engine.State(l.restore.Restore)
	if err != nil || !mayRename(state) {
		return err
	}
	if err := l.stopAll(ctx); err != nil {
		return fmt.Errorf("nothing was changed yet, the restore is %s: %w", state, err)
	}
	return nil
}
