package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// Cgroup is the plugin "cgroup": it writes the files of a cgroup (version 2), such as cpu.max or
// cgroup.freeze, to shed load or, as a recovery, to raise a limit, and puts the old values back.
type Cgroup struct{ host *host }

var (
	_ sdk.Plugin         = (*Cgroup)(nil)
	_ sdk.Isolator       = (*Cgroup)(nil)
	_ sdk.Undoer         = (*Cgroup)(nil)
	_ sdk.OptionsChecker = (*Cgroup)(nil)
)

type cgroupOptions struct {
	// Path of the cgroup, absolute or below the mount point of cgroup2.
	Path string `json:"path"`
	// Set is what to write to which of its files.
	Set map[string]json.RawMessage `json:"set"`
}

// Describe says what the plugin is.
func (*Cgroup) Describe() sdk.Description {
	return sdk.Description{
		Name: "cgroup", Version: version, RecoveryType: "custom", Idempotent: true,
		Summary: "Changes limits of a cgroup, or freezes it, and puts the old values back",
	}
}

// CheckOptions checks the options of a hook.
func (*Cgroup) CheckOptions(options json.RawMessage) error {
	o, list, err := parseCgroup(options)
	if err == nil && path.Base(path.Clean(o.Path)) == "init.scope" && harmful(list) != "" {
		err = sdk.BadOption("path", spareHint, "%s holds the first process of the host; its %s is left alone", o.Path, harmful(list))
	}
	return err
}

// parseCgroup returns the options and what they write, in order.
func parseCgroup(options json.RawMessage) (cgroupOptions, []setting, error) {
	var o cgroupOptions
	if err := sdk.Decode(options, &o); err != nil {
		return o, nil, err
	}
	const example = "for example system.slice/batch.service, below the mount point of cgroup2"
	switch {
	case o.Path == "":
		return o, nil, sdk.BadOption("path", example, "is missing")
	case slices.Contains(strings.Split(o.Path, "/"), ".."):
		return o, nil, sdk.BadOption("path", example, "%q leads upwards", o.Path)
	case path.Clean(o.Path) == "/" || path.Clean(o.Path) == ".":
		return o, nil, sdk.BadOption("path", example, "the root cgroup holds the whole machine")
	case len(o.Set) == 0:
		return o, nil, sdk.BadOption("set", `for example set: {cpu.weight: 10}, or {cgroup.freeze: 1}`, "nothing says what to write")
	}
	var list []setting
	for _, name := range slices.Sorted(maps.Keys(o.Set)) {
		more, err := parseSetting(name, o.Set[name])
		if err != nil {
			return o, nil, err
		}
		list = append(list, more...)
	}
	// The freezer comes last, so that what is thawed runs under the right limits.
	slices.SortStableFunc(list, func(a, b setting) int {
		switch af, bf := a.Knob == freezeKnob, b.Knob == freezeKnob; {
		case af == bf:
			return 0
		case af:
			return 1
		}
		return -1
	})
	return o, list, nil
}

// keptCgroup is what was found before the first write.
type keptCgroup struct {
	Path string `json:"path"`
	// ID tells a cgroup from a later one of the same path.
	ID  string    `json:"id"`
	Old []setting `json:"old"`
}

// old returns the kept value of the place that s writes to.
func (k keptCgroup) old(s setting) (setting, bool) {
	i := slices.IndexFunc(k.Old, s.sameFile)
	if i < 0 {
		return setting{}, false
	}
	return k.Old[i], true
}

// cgroupStep is one step under way.
type cgroupStep struct {
	req  sdk.Request
	path string
	// dir is nil when there is no such cgroup.
	dir  *cgroupDir
	list []setting
	file string
	kept keptCgroup
	// shed says that there are kept values, of this cgroup.
	shed bool
}

// open opens the cgroup and the values kept for it.
func (c *Cgroup) open(ctx context.Context, req sdk.Request) (s *cgroupStep, done func(), err error) {
	o, list, err := parseCgroup(req.Options)
	if err != nil {
		return nil, nil, err
	}
	mount, err := c.host.fs.cgroupMount()
	if err != nil {
		return nil, nil, err
	}
	rel, err := mount.relative(o.Path)
	if err != nil {
		return nil, nil, err
	}
	s = &cgroupStep{req: req, path: filepath.Join(string(mount), rel), list: list}
	if s.file, err = keptFile(req, "cgroup", rel); err != nil {
		return nil, nil, err
	}
	leave, err := c.host.alone(ctx, s.file)
	if err != nil {
		return nil, nil, err
	}
	if s.shed, err = readKept(s.file, &s.kept); err == nil {
		s.dir, err = c.host.openCgroup(mount, rel)
	}
	if err != nil {
		leave()
		return nil, nil, err
	}
	return s, func() { s.dir.close(); leave() }, nil
}

// Isolate writes the settings; what it finds there before the first time is kept.
func (c *Cgroup) Isolate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	s, done, err := c.open(ctx, req)
	if err != nil {
		return sdk.Result{}, err
	}
	defer done()
	if s.dir == nil {
		return sdk.Result{}, retryable(errors.New("there is no such cgroup: "+s.path),
			"does the service run? for a systemd unit that comes and goes, use the plugin systemd")
	}
	if knob := harmful(s.list); knob != "" {
		if err := c.host.spareCgroup(s.dir, knob); err != nil {
			return sdk.Result{}, err
		}
	}
	if s.kept.ID != s.dir.id { // also when nothing is kept
		s.kept, s.shed = keptCgroup{Path: s.path, ID: s.dir.id}, false
	}
	again := s.shed
	if err := s.keep(); err != nil {
		return sdk.Result{}, err
	}
	changes, err := s.write(ctx, s.list, false)
	if err != nil && !again && !req.Plan {
		// Half a limit is no state to stay in: nobody undoes a step that failed.
		_, undone := s.write(context.WithoutCancel(ctx), s.kept.Old, true)
		if undone == nil {
			undone = removeIfThere(s.file)
		}
		return sdk.Result{}, errors.Join(err, undone)
	}
	return sdk.Result{Summary: summary(req, changes, "shed load in cgroup "+s.path), Changes: changes}, err
}

// keep adds what was found to what is kept already, and makes it durable.
func (s *cgroupStep) keep() error {
	added := false
	for _, want := range s.list {
		if _, ok := s.kept.old(want); ok {
			continue
		}
		now, err := s.dir.read(want)
		if err != nil {
			return err
		}
		s.kept.Old, added = append(s.kept.Old, now), true
	}
	if !added || s.req.Plan {
		return nil
	}
	return keepJSON(s.file, s.kept)
}

// Reintegrate puts back what Isolate found.
func (c *Cgroup) Reintegrate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	s, done, err := c.open(ctx, req)
	if err != nil {
		return sdk.Result{}, err
	}
	defer done()
	if !s.shed {
		return sdk.Result{Summary: "nothing was shed in cgroup " + s.path + "; nothing to put back"}, nil
	}
	said := ""
	switch {
	case s.dir == nil:
		said = "cgroup " + s.path + " is gone; there is nothing to put back"
	case s.kept.ID != s.dir.id:
		said = "cgroup " + s.path + " has been made anew since; there is nothing to put back"
	}
	if said != "" {
		if !req.Plan {
			err = removeIfThere(s.file)
		}
		return sdk.Result{Summary: said}, err
	}
	changes, err := s.write(ctx, s.kept.Old, true)
	if err == nil && !req.Plan {
		err = removeIfThere(s.file)
	}
	return sdk.Result{Summary: summary(req, changes, "put back what was in cgroup "+s.path), Changes: changes}, err
}

// write brings the settings about, or says for a plan what it would change. One that fails does
// not keep the others from being tried. What is put back may have lost its file with a controller.
func (s *cgroupStep) write(ctx context.Context, list []setting, back bool) (changes []string, err error) {
	for _, want := range list {
		if ctx.Err() != nil {
			return changes, errors.Join(err, ctx.Err())
		}
		now, bad := s.dir.read(want)
		switch {
		case errors.Is(bad, fs.ErrNotExist) && back:
			changes = append(changes, want.Knob+" is gone; it is left out")
			continue
		case bad == nil && now.equals(want):
			changes = append(changes, fmt.Sprintf("%s is %s already", want.Knob, want.shown()))
		case bad == nil && s.req.Plan:
			changes = append(changes, fmt.Sprintf("%s: %s → %s", want.Knob, now.shown(), want.shown()))
		case bad == nil:
			if bad = s.dir.write(want); bad == nil {
				changes = append(changes, fmt.Sprintf("%s: %s → %s", want.Knob, now.shown(), want.shown()))
			}
		}
		if bad == nil && want.Knob == freezeKnob && !s.req.Plan {
			bad = s.dir.awaitFreezer(ctx, want.Text == "1")
		}
		err = errors.Join(err, bad)
	}
	return changes, err
}

// harmful names a file of list whose value can stop, kill or hold up processes for good; "" when
// there is none.
func harmful(list []setting) string {
	for _, w := range list {
		switch w.Knob {
		case freezeKnob:
			if w.Text == "1" {
				return w.Knob
			}
		case "memory.max", "pids.max", "cpu.max":
			if w.Text != "max" && !strings.HasPrefix(w.Text, "max ") {
				return w.Knob
			}
		case "cpuset.cpus":
			return w.Knob
		}
	}
	return ""
}
