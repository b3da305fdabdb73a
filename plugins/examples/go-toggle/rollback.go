package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// Rollback is the plugin.
type Rollback struct{}

var (
	_ sdk.Plugin         = Rollback{}
	_ sdk.Validator      = Rollback{}
	_ sdk.Undoer         = Rollback{}
	_ sdk.Resumer        = Rollback{}
	_ sdk.OptionsChecker = Rollback{}
)

type options struct {
	// Releases is the folder that holds one folder per release.
	Releases string `json:"releases"`
	// Current is the link to the release in use.
	Current string `json:"current"`
}

// Describe says what the plugin is.
func (Rollback) Describe() sdk.Description {
	return sdk.Description{
		Name: "release-rollback", Version: "1.0.0", RecoveryType: "state",
		Summary:    "switches the link of the current release to the release before it",
		Idempotent: true,
	}
}

// CheckOptions wants two absolute paths.
func (Rollback) CheckOptions(raw json.RawMessage) error {
	_, err := read(raw)
	return err
}

func read(raw json.RawMessage) (options, error) {
	var o options
	if err := sdk.Decode(raw, &o); err != nil {
		return o, err
	}
	for name, path := range map[string]string{"releases": o.Releases, "current": o.Current} {
		if !filepath.IsAbs(path) {
			return o, sdk.BadOption(name, "write the whole path", "%q is not an absolute path", path)
		}
	}
	return o, nil
}

// Recover switches to the release before the current one. What it is about to do is noted
// under the step's key first, so that a repeated step does not go back two releases.
func (Rollback) Recover(_ context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := read(req.Options)
	if err != nil {
		return sdk.Result{}, err
	}
	move, known, err := noted(req)
	if err != nil {
		return sdk.Result{}, err
	}
	if !known {
		if move, err = o.previous(); err != nil {
			return sdk.Result{}, err
		}
	}
	change := fmt.Sprintf("%s: %s → %s", o.Current, filepath.Base(move.From), filepath.Base(move.To))
	if req.Plan {
		return sdk.Result{Summary: "would roll back to " + filepath.Base(move.To), Changes: []string{change}}, nil
	}
	if err := note(req, move); err != nil {
		return sdk.Result{}, err
	}
	req.Progress("switching to %s", filepath.Base(move.To))
	if err := o.point(move.From, move.To); err != nil {
		return sdk.Result{}, err
	}
	return sdk.Result{Summary: "rolled back to " + filepath.Base(move.To), Changes: []string{change}}, nil
}

// Undo switches back to the release that was current before Recover.
func (Rollback) Undo(_ context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := read(req.Options)
	if err != nil {
		return sdk.Result{}, err
	}
	move, known, err := noted(req)
	if err != nil {
		return sdk.Result{}, err
	}
	if !known {
		return sdk.Result{Summary: "nothing to take back"}, nil
	}
	change := fmt.Sprintf("%s: %s → %s", o.Current, filepath.Base(move.To), filepath.Base(move.From))
	if req.Plan {
		return sdk.Result{Summary: "would return to " + filepath.Base(move.From), Changes: []string{change}}, nil
	}
	if err := o.point(move.To, move.From); err != nil {
		return sdk.Result{}, err
	}
	return sdk.Result{Summary: "returned to " + filepath.Base(move.From), Changes: []string{change}}, nil
}

// Validate wants the link to lead to a release.
func (Rollback) Validate(_ context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := read(req.Options)
	if err != nil {
		return sdk.Result{}, err
	}
	info, err := os.Stat(o.Current)
	if err != nil || !info.IsDir() {
		return sdk.Result{}, sdk.Failf("deploy a release", "%s does not lead to a release", o.Current)
	}
	return sdk.Result{Summary: o.Current + " leads to a release"}, nil
}

// Mark answers where the link leads.
func (Rollback) Mark(_ context.Context, step sdk.Step, req sdk.Request) (string, error) {
	o, err := read(req.Options)
	if err != nil {
		return "", err
	}
	if step != sdk.StepRecover {
		return "", sdk.ErrUnknown
	}
	return os.Readlink(o.Current)
}

// Done says whether the link leads elsewhere than it did.
func (r Rollback) Done(ctx context.Context, step sdk.Step, req sdk.Request) (bool, error) {
	now, err := r.Mark(ctx, step, req)
	return now != req.Mark, err
}

// move is a switch of the link.
type move struct{ From, To string }

// previous returns the move to the release before the current one.
func (o options) previous() (move, error) {
	from, err := os.Readlink(o.Current)
	if err != nil {
		return move{}, sdk.Failf("deploy a release", "no current release: %v", err)
	}
	entries, err := os.ReadDir(o.Releases)
	if err != nil {
		return move{}, fmt.Errorf("list releases: %w", err)
	}
	before := ""
	for _, e := range entries {
		if e.IsDir() && e.Name() < filepath.Base(from) {
			before = e.Name()
		}
	}
	if before == "" {
		return move{}, sdk.Failf("keep at least two releases", "there is no release before %s", filepath.Base(from))
	}
	return move{From: from, To: filepath.Join(o.Releases, before)}, nil
}

// point switches the link from one release to another in one atomic rename. A link that is
// there already is left; one that leads to a third place belongs to somebody else.
func (o options) point(from, to string) error {
	switch now, err := os.Readlink(o.Current); {
	case err != nil:
		return fmt.Errorf("read link: %w", err)
	case now == to:
		return nil
	case now != from:
		return sdk.Failf("is a deployment under way?", "%s now leads to %s", o.Current, now)
	}
	fresh := o.Current + ".shivx"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old link: %w", err)
	}
	if err := os.Symlink(to, fresh); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	if err := os.Rename(fresh, o.Current); err != nil {
		return fmt.Errorf("switch link: %w", err)
	}
	return nil
}

func noteFile(req sdk.Request) string {
	return filepath.Join(req.WorkDir, "move-"+strings.ReplaceAll(req.Key, "/", "_")+".json")
}

// noted returns the move that an earlier call with the same key decided on.
func noted(req sdk.Request) (move, bool, error) {
	var m move
	data, err := os.ReadFile(noteFile(req))
	if errors.Is(err, os.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("read note: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, false, fmt.Errorf("read note: %w", err)
	}
	return m, true, nil
}

// note writes the move down before it is made.
func note(req sdk.Request, m move) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write note: %w", err)
	}
	fresh := noteFile(req) + ".new"
	if err := os.WriteFile(fresh, data, 0o600); err != nil {
		return fmt.Errorf("write note: %w", err)
	}
	if err := os.Rename(fresh, noteFile(req)); err != nil {
		return fmt.Errorf("write note: %w", err)
	}
	return nil
}
