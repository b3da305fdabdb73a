package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/shivx/shivx/plugins/sdk"
)

// Disk is the plugin "disk": it makes room by rules, in their order, until enough is free.
//
// What may go is decided anew from what is there at each call, so a step that was killed is simply done again. Folders
// are opened without following links and without leaving their file system, and whatever is odd is left alone.
type Disk struct {
	host *host
	// protect are folders of the agent's own, in which nothing is touched.
	protect []string
}

var (
	_ sdk.Plugin         = (*Disk)(nil)
	_ sdk.Resumer        = (*Disk)(nil)
	_ sdk.OptionsChecker = (*Disk)(nil)
)

// defaultMost is what one run may free.
const defaultMost = 10_000_000_000

type diskOptions struct {
	// Path is on the file system that needs room; default: that of the first rule with a path.
	Path string `json:"path"`
	// UntilFree ends the run when so much is free; default: every rule is followed once.
	UntilFree *freeTarget `json:"until_free"`
	// Most is what one run may free; default 10GB.
	Most *byteSize `json:"most"`
	// Rules in the order in which they are followed.
	Rules []diskRule `json:"rules"`
}

func (o diskOptions) most() int64 {
	if o.Most == nil {
		return defaultMost
	}
	return int64(*o.Most)
}

// watched is the folder whose file system needs room.
func (o diskOptions) watched() string {
	if o.Path != "" {
		return o.Path
	}
	for _, r := range o.Rules {
		if folder := r.folder(); folder != "" {
			return folder
		}
	}
	return ""
}

// Describe says what the plugin is.
func (*Disk) Describe() sdk.Description {
	return sdk.Description{
		Name: "disk", Version: version, RecoveryType: "custom", Destructive: true, Idempotent: true,
		Summary: "Makes room on a disk: old files, logs, journal, packages, and commands of your own",
	}
}

// CheckOptions checks the options of a strategy or an action.
func (*Disk) CheckOptions(options json.RawMessage) error {
	_, err := parseDisk(options)
	return err
}

func parseDisk(options json.RawMessage) (o diskOptions, err error) {
	if err := sdk.Decode(options, &o); err != nil {
		return o, err
	}
	switch {
	case len(o.Rules) == 0:
		return o, sdk.BadOption("rules", `for example rules: [{old_files: {path: /var/cache/shop, match: "*.tmp", older_than: 168h}}]`, "nothing says what may go")
	case o.Path != "" && !cleanPath(o.Path):
		return o, sdk.BadOption("path", "write the whole path, without .. and without / at its end", "%q is not a plain path", o.Path)
	case o.UntilFree != nil && o.watched() == "":
		return o, sdk.BadOption("path", "name a folder on the file system that needs room", "is missing: nothing says where until_free is measured")
	}
	for i := range o.Rules {
		if err := o.Rules[i].check("rules[" + strconv.Itoa(i) + "]"); err != nil {
			return o, err
		}
	}
	return o, nil
}

// cleaning is one step under way.
type cleaning struct {
	diskOptions
	req  sdk.Request
	host *host
	// guarded are the folders in which nothing is touched.
	guarded []string
	// left is what this run may still free, in bytes; pending is what a plan has freed so far.
	left, pending int64
	freed         int64
	files         int
	report        report
	open          openFiles
	// trees are the folders of the rules that there are.
	trees map[string]*tree
}

// Recover follows the rules.
func (d *Disk) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := parseDisk(req.Options)
	if err != nil {
		return sdk.Result{}, err
	}
	leave, err := d.host.alone(ctx, "plugin disk")
	if err != nil {
		return sdk.Result{}, err
	}
	defer leave()
	c := &cleaning{diskOptions: o, req: req, host: d.host, guarded: d.protect, left: o.most()}
	defer c.close()
	if err := c.openTrees(); err != nil {
		return sdk.Result{}, err
	}
	c.left -= c.freedBefore()
	err = c.follow(ctx)
	enough, free, lookErr := c.enough()
	result := sdk.Result{Summary: c.summary(free), Changes: c.report.lines()}
	switch {
	case err != nil:
		return result, err
	case lookErr != nil:
		return result, lookErr
	case !enough && c.freed == 0 && !req.Plan:
		return result, sdk.Failf("look at what fills it (du -xh "+c.watched()+" | sort -h | tail) and add rules",
			"nothing was found to free: %s is free, %s is wanted", free.shown(), c.UntilFree)
	}
	return result, nil
}

// follow goes through the rules. A log that had no room to be compressed gets another try when others have made some.
func (c *cleaning) follow(ctx context.Context) error {
	var again []diskRule
	var errs []error
	for round, rules := range [][]diskRule{c.Rules, nil} {
		if round == 1 {
			rules = again
		}
		for _, r := range rules {
			enough, _, err := c.enough()
			switch {
			case err != nil || ctx.Err() != nil:
				return errors.Join(append(errs, err, ctx.Err())...)
			case enough && c.UntilFree != nil:
				return errors.Join(errs...)
			case c.left <= 0:
				c.report.note("stopped at the limit of %s for one run", shownBytes(c.most()))
				return errors.Join(errs...)
			}
			err = r.do(ctx, c)
			if errors.Is(err, errNoRoom) && round == 0 {
				again = append(again, r)
				continue
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// gone notes what went, or would go.
func (c *cleaning) gone(bytes int64, files int, format string, args ...any) {
	c.left -= bytes
	c.freed += bytes
	c.files += files
	if c.req.Plan {
		c.pending += bytes
	}
	c.report.change(format, args...)
}

// enough says whether so much is free as is wanted, and how much that is. Without a target it is.
func (c *cleaning) enough() (bool, room, error) {
	folder := c.watched()
	if folder == "" {
		return true, room{}, nil
	}
	now, err := roomOf(folder)
	if err != nil {
		if c.UntilFree == nil {
			err = nil
		}
		return true, room{}, failed(err, "does the folder exist? the option path, or that of the first rule, names it")
	}
	now.free += c.pending
	return c.UntilFree == nil || c.UntilFree.reached(now), now, nil
}

func (c *cleaning) summary(free room) string {
	did := "freed"
	if c.req.Plan {
		did = "would free"
	}
	text := fmt.Sprintf("%s %s", did, shownBytes(c.freed))
	if c.files > 0 {
		text += fmt.Sprintf(" in %d files", c.files)
	}
	if free.size > 0 {
		text += fmt.Sprintf("; %s of the file system of %s is free", free.shown(), c.watched())
	}
	return text
}

// Mark is what was free before, by which a step that is done again knows what the first try has freed.
func (d *Disk) Mark(_ context.Context, step sdk.Step, req sdk.Request) (string, error) {
	if step != sdk.StepRecover {
		return "", sdk.ErrUnknown
	}
	o, err := parseDisk(req.Options)
	if err != nil {
		return "", err
	}
	free := map[string]int64{}
	for _, folder := range o.folders() {
		if now, err := roomOf(folder); err == nil {
			free[folder] = now.free
		}
	}
	text, err := json.Marshal(free)
	if err == nil && len(text) > sdk.MaxMark {
		return "", sdk.ErrUnknown
	}
	return string(text), err
}

// folders are all that the options name, each once.
func (o diskOptions) folders() []string {
	all := map[string]bool{}
	for _, r := range o.Rules {
		all[r.folder()] = true
	}
	all[o.watched()] = true
	delete(all, "")
	return slices.Sorted(maps.Keys(all))
}

// freedBefore is what an earlier try of this step has freed on the file system that gained most, as far as the mark
// tells. Others write there, too, so it may be more.
func (c *cleaning) freedBefore() (most int64) {
	var free map[string]int64
	if json.Unmarshal([]byte(c.req.Mark), &free) != nil {
		return 0
	}
	for folder, before := range free {
		if now, err := roomOf(folder); err == nil {
			most = max(most, now.free-before)
		}
	}
	return most
}

// Done says whether so much is free as is wanted. Without a target it cannot tell.
func (d *Disk) Done(_ context.Context, step sdk.Step, req sdk.Request) (bool, error) {
	if step != sdk.StepRecover {
		return false, sdk.ErrUnknown
	}
	o, err := parseDisk(req.Options)
	if err != nil {
		return false, err
	}
	if o.UntilFree == nil {
		return false, sdk.ErrUnknown
	}
	now, err := roomOf(o.watched())
	return err == nil && o.UntilFree.reached(now), err
}
