package enforce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/gaissmai/bart"
	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/durable"
)

const (
	// pace is the least time between two writes, and so between two reloads. Each reload costs the
	// server workers that live on beside the new ones while their connections last: so the time doubles
	// up to longestPace while changes keep coming, until none has come for calm.
	pace        = time.Second
	longestPace = 30 * time.Second
	calm        = time.Minute
	// lastReload is how long a reload may take when the agent is ending.
	lastReload = 5 * time.Second
)

// DenyFile writes who is denied into a file and tells the server that reads it.
//
// The allow list is cut out of the networks that are denied, as few formats know exceptions; in a
// lockdown everybody is denied but the allow list. The formats are
//
//   - plain: one source a line, nothing else;
//   - haproxy: the same under a comment, for "acl denied src -f FILE";
//   - nginx: lines "deny SOURCE;", to be included in http, server or location;
//   - apache: lines "Require not ip SOURCE", to be included within <RequireAll> beside a directive that
//     grants, such as "Require all granted". Elsewhere Apache refuses the lines: it does not start
//     instead of granting everybody access.
//
// A file cannot end anything by itself: when the agent dies, what is denied stays so, and a lockdown too,
// until the next agent starts.
//
// A change is written at once, and the server reloaded; further ones follow together after 1 s, 2 s, 4 s
// and so on to 30 s. Terms that ended may wait for the 30 s, a lockdown never waits for more than 1 s. A
// file or reload that failed is tried again by the next Replace.
type DenyFile struct {
	file config.DenyFile
	run  func(context.Context, config.Command) error

	denied   bart.Lite
	allow    []netip.Prefix
	lockdown bool
	given    bool // a state, by Replace
	// wrote is when the last write or reload began, pressed the last that was not for ended terms alone;
	// wait is the time after it.
	wrote, pressed time.Time
	wait           time.Duration
	// stale says that the server may not have read the file as it is: also after a start, as nobody
	// knows whether the last run came to reload it.
	stale bool
}

var (
	_ Checker  = (*DenyFile)(nil)
	_ Verifier = (*DenyFile)(nil)
	_ Paced    = (*DenyFile)(nil)
)

// NewDenyFile returns the enforcer of one file; it changes nothing yet. run runs the reload command.
func NewDenyFile(f config.DenyFile, run func(context.Context, config.Command) error) *DenyFile {
	return &DenyFile{file: f, run: run, allow: loopback(), stale: true}
}

// Name is "deny_file:" and the name in the configuration.
func (d *DenyFile) Name() string { return "deny_file:" + d.file.Name }

// Entries is how many sources are denied, before the allow list is cut out.
func (d *DenyFile) Entries() int { return d.denied.Size() }

// Replace writes the file anew if it is not as it should be.
func (d *DenyFile) Replace(ctx context.Context, s State) error {
	now := time.Now()
	d.denied, d.lockdown, d.given = bart.Lite{}, s.Lockdown.InForce(now), true
	d.allow = append(loopback(), s.Allow...)
	for i := range s.Isolations {
		d.put(&s.Isolations[i], now)
	}
	return d.write(ctx, Soon)
}

// Due is when the file may be written again.
func (d *DenyFile) Due(h Haste) time.Time {
	switch {
	case h == Eventually:
		return d.wrote.Add(longestPace)
	case h == AtOnce || time.Since(d.pressed) >= calm:
		return d.wrote.Add(pace)
	}
	return d.wrote.Add(d.wait)
}

// begin notes a write or reload.
func (d *DenyFile) begin(h Haste) {
	now := time.Now()
	d.wrote = now
	if h == Eventually {
		return // they have the longest pace already
	}
	if d.wait = min(2*d.wait, longestPace); now.Sub(d.pressed) >= calm {
		d.wait = pace
	}
	d.pressed = now
}

// Apply writes the file with the change.
func (d *DenyFile) Apply(ctx context.Context, delta Delta) error {
	now := time.Now()
	for _, p := range delta.Drop {
		d.denied.Delete(p.Masked())
	}
	for i := range delta.Put {
		d.put(&delta.Put[i], now)
	}
	if delta.Lockdown != nil {
		d.lockdown = delta.Lockdown.InForce(now)
	}
	return d.write(ctx, delta.haste())
}

func (d *DenyFile) put(i *shivx.Isolation, now time.Time) {
	p, err := shivx.ParseSource(i.Source)
	switch {
	case err != nil:
	case i.InForce(now):
		d.denied.Insert(p)
	default:
		d.denied.Delete(p)
	}
}

// write brings file and server up to date.
func (d *DenyFile) write(ctx context.Context, h Haste) error {
	if ctx.Err() != nil { // the agent ends: what was decided is still written
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastReload)
		defer cancel()
	}
	want := d.render()
	have, err := os.ReadFile(d.file.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.failed("read", err)
	}
	changed := err != nil || !bytes.Equal(have, want)
	if changed || d.stale && d.file.Reload != nil {
		d.begin(h)
	}
	if changed {
		d.stale = true
		if err := d.swap(want); err != nil {
			return d.failed("write", err)
		}
	}
	if !d.stale || d.file.Reload == nil {
		return nil
	}
	if err := d.run(ctx, *d.file.Reload); err != nil {
		return shivx.Hint(fmt.Errorf("the deny file %s is written, but its server was not reloaded: %w", d.file.Name, err),
			"run the command by hand; the guardian goes on trying")
	}
	d.stale = false
	return nil
}

func (d *DenyFile) failed(what string, err error) error {
	return shivx.Hint(fmt.Errorf("%s the deny file %s: %w", what, d.file.Name, err),
		"make the folder of "+d.file.Path+", and let the agent write in it")
}

// swap replaces the file in one step, with the mode and owner of the one before, and makes that last.
// A symbolic link stays one.
func (d *DenyFile) swap(content []byte) error {
	path := d.file.Path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	tmp, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644), renameio.WithExistingPermissions())
	if err != nil {
		return err
	}
	defer func() { _ = tmp.Cleanup() }()
	if err := keepOwner(tmp.File, path); err != nil {
		return err
	}
	if _, err := tmp.Write(content); err != nil {
		return err
	}
	if err := tmp.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// Holds says whether the file has a line for p or a network around it.
func (d *DenyFile) Holds(_ context.Context, p netip.Prefix) (bool, error) {
	have, err := os.ReadFile(d.file.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, d.failed("read", err)
	}
	denied := d.parse(have)
	return denied.LookupPrefix(p.Masked()), nil
}

// Verify compares the file with what was given.
func (d *DenyFile) Verify(_ context.Context) error {
	if !d.given {
		return nil
	}
	have, err := os.ReadFile(d.file.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.failed("read", err)
	}
	if err != nil || !bytes.Equal(have, d.render()) {
		return shivx.Hint(fmt.Errorf("the deny file %s was changed by somebody else", d.file.Name),
			"it is written anew; keep rules of your own in another file")
	}
	return nil
}
