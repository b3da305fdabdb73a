package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/shivx/shivx/internal/checkpoint"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/plugins/sdk"
)

// State is the plugin "state": it rebuilds corrupted state. Known good files replace broken
// ones, commands rebuild what they can, and consistency checks before and after say whether
// it was needed and whether it helped.
type State struct{ store *checkpoint.Store }

var (
	_ sdk.Plugin         = (*State)(nil)
	_ sdk.Undoer         = (*State)(nil)
	_ sdk.OptionsChecker = (*State)(nil)
)

type stateOptions struct {
	// Verify commands say whether the state is sound: all of them end with 0.
	Verify [][]string `json:"verify"`
	// Replace puts good files in the place of broken ones, before the steps.
	Replace []replacement `json:"replace"`
	// Steps rebuild the state, in order; the first that fails ends the recovery.
	Steps [][]string        `json:"steps"`
	Dir   string            `json:"dir"`
	Env   map[string]string `json:"env"`
	// Timeout of each command; default 30s.
	Timeout sdk.Duration `json:"timeout"`
}

type replacement struct {
	File string `json:"file"`
	// With is a known good copy.
	With string `json:"with"`
	// FromCheckpoint takes the copy in the last healthy checkpoint instead.
	FromCheckpoint bool `json:"from_checkpoint"`
}

// Describe says what the plugin is.
func (*State) Describe() sdk.Description {
	return sdk.Description{
		Name: "state", Version: version, RecoveryType: "state", Destructive: true,
		Summary: "Rebuilds corrupted state: replaces broken files by good ones and runs commands, between consistency checks",
	}
}

// CheckOptions checks the options of a strategy.
func (*State) CheckOptions(options json.RawMessage) error {
	var o stateOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	if len(o.Steps) == 0 && len(o.Replace) == 0 {
		return sdk.BadOption("steps", "for example steps: [[redis-check-aof, --fix, /var/lib/redis/appendonly.aof]]", "neither steps nor replace says what to do")
	}
	for name, list := range map[string][][]string{"steps": o.Steps, "verify": o.Verify} {
		for i, argv := range list {
			if len(argv) == 0 {
				return sdk.BadOption(fmt.Sprintf("%s[%d]", name, i), "", "is empty")
			}
			if err := checkArgv(fmt.Sprintf("%s[%d]", name, i), argv); err != nil {
				return err
			}
		}
	}
	for i, r := range o.Replace {
		name := fmt.Sprintf("replace[%d]", i)
		switch {
		case !filepath.IsAbs(r.File):
			return sdk.BadOption(name+".file", "write an absolute path", "%q is not absolute", r.File)
		case (r.With == "") != r.FromCheckpoint:
			return sdk.BadOption(name, "set with to a path, or from_checkpoint to true", "exactly one of with and from_checkpoint says what replaces %s", r.File)
		case r.With != "" && !filepath.IsAbs(r.With):
			return sdk.BadOption(name+".with", "write an absolute path", "%q is not absolute", r.With)
		}
	}
	return nil
}

func (s *State) open(req sdk.Request) (stateOptions, error) {
	var o stateOptions
	if err := s.CheckOptions(req.Options); err != nil {
		return o, err
	}
	return o, req.Decode(&o)
}

func timeoutOf(d sdk.Duration) time.Duration { return time.Duration(d) }

func (o stateOptions) run(ctx context.Context, argv []string) error {
	_, err := command.Run(ctx, command.Spec{Argv: argv, Dir: o.Dir, Env: o.Env, Timeout: timeoutOf(o.Timeout)})
	return err
}

// verify returns what the first failing check says; nil means sound.
func (o stateOptions) verify(ctx context.Context) error {
	for _, argv := range o.Verify {
		if err := o.run(ctx, argv); err != nil {
			return err
		}
	}
	return nil
}

// Recover rebuilds the state, unless the checks find it sound.
func (s *State) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := s.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	if req.Plan {
		return s.plan(ctx, o, req)
	}
	if len(o.Verify) > 0 {
		broken := o.verify(ctx)
		if ctx.Err() != nil {
			return sdk.Result{}, ctx.Err()
		}
		if broken == nil {
			return sdk.Result{Summary: "the state of " + req.Component + " is sound; nothing was rebuilt"}, nil
		}
		req.Progress("the state is not sound: %v", broken)
	}
	changes, err := s.rebuild(ctx, o, req)
	if err != nil {
		return sdk.Result{Changes: changes}, err
	}
	if err := o.verify(ctx); err != nil {
		return sdk.Result{Changes: changes}, sdk.Failf("restore the data from a checkpoint instead (plugin data)",
			"the state of %s is still not sound after it was rebuilt: %v", req.Component, err)
	}
	return sdk.Result{Summary: "rebuilt the state of " + req.Component, Changes: changes}, nil
}

func (s *State) rebuild(ctx context.Context, o stateOptions, req sdk.Request) ([]string, error) {
	var changes []string
	for _, r := range o.Replace {
		change, err := s.replace(ctx, r, req)
		if err != nil {
			return changes, err
		}
		changes = append(changes, change...)
	}
	for i, argv := range o.Steps {
		req.Progress("step %d of %d: %s", i+1, len(o.Steps), command.Line(argv))
		if err := o.run(ctx, argv); err != nil {
			return changes, failed(fmt.Errorf("step %d of %d: %w", i+1, len(o.Steps), err), "run the step by hand")
		}
		changes = append(changes, "ran "+command.Line(argv))
	}
	return changes, nil
}

func (s *State) plan(ctx context.Context, o stateOptions, req sdk.Request) (sdk.Result, error) {
	var changes []string
	for _, argv := range o.Verify {
		changes = append(changes, "check by "+command.Line(argv)+"; if all checks pass, do nothing more")
	}
	for _, r := range o.Replace {
		_, _, from, err := s.good(ctx, r, req)
		if err != nil {
			return sdk.Result{}, err
		}
		changes = append(changes, fmt.Sprintf("replace %s by %s", r.File, from))
	}
	for _, argv := range o.Steps {
		changes = append(changes, "run "+command.Line(argv))
	}
	if len(o.Verify) > 0 {
		changes = append(changes, "run the checks again")
	}
	return sdk.Result{Summary: summary(req, changes, ""), Changes: changes}, nil
}

// Undo puts back the state of before the recovery: from its checkpoint, or, where there is
// none, the broken files that were kept.
func (s *State) Undo(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := s.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	if req.CheckpointErr != nil {
		return sdk.Result{}, unread("checkpoint of the state before the recovery", req, req.CheckpointErr)
	}
	if req.CheckpointID != "" && s.store != nil {
		c, err := s.store.Get(ctx, req.CheckpointID)
		if err != nil {
			return sdk.Result{}, fromStore(err)
		}
		if req.Plan {
			return sdk.Result{Summary: "would restore checkpoint " + c.ID, Changes: append([]string{"restore " + strings.Join(c.Paths, ", ")}, warnings(c)...)}, nil
		}
		got, err := s.store.Restore(ctx, c, progressBytes(req, "restored"))
		if err != nil {
			return sdk.Result{}, fromStore(err)
		}
		return sdk.Result{Summary: "put back the state of before the recovery", Changes: append(describe(got), warnings(c)...)}, nil
	}
	return o.putBack(req)
}

// putBack undoes the replacements by the newest broken files kept.
func (o stateOptions) putBack(req sdk.Request) (sdk.Result, error) {
	var changes []string
	for _, r := range o.Replace {
		path := r.File
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		beside, data, err := newestBroken(path)
		if err != nil {
			return sdk.Result{Changes: changes}, err
		}
		if beside == "" {
			continue
		}
		if !req.Plan {
			if err := replaceFile(path, data); err != nil {
				return sdk.Result{Changes: changes}, err
			}
			if err := os.Remove(beside); err != nil {
				return sdk.Result{Changes: changes}, err
			}
		}
		changes = append(changes, fmt.Sprintf("put back %s from %s", path, beside))
	}
	if len(o.Steps) > 0 {
		changes = append(changes, "note: what the steps did cannot be taken back without a checkpoint (set state.paths)")
	}
	return sdk.Result{Summary: summary(req, changes, "put back the replaced files"), Changes: changes}, nil
}

func newestBroken(path string) (string, []byte, error) {
	list, err := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(path)), "."+escapeGlob(filepath.Base(path))+".broken-*"))
	if err != nil {
		return "", nil, err
	}
	var newest string
	var when time.Time
	for _, name := range list {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(when) {
			newest, when = name, info.ModTime()
		}
	}
	if newest == "" {
		return "", nil, nil
	}
	data, err := os.ReadFile(newest)
	return newest, data, err
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}
