package modules

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
)

// Path is the file of the registrations below the configured var folder.
func Path(dir string) string { return filepath.Join(dir, "resilience", "modules.json") }

// maxFile is the size above which a file is none of ours.
const maxFile = 16 << 20

// file is the registrations as they are kept.
type file struct {
	// Version of the format; 1.
	Version int            `json:"version"`
	Modules []Registration `json:"modules"`
}

// restore has the kept registrations watched again.
func (r *Registry) restore(ctx context.Context) {
	kept, err := readFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.setAside(err)
		return
	}
	// The oldest come first: they stay when fewer may be registered than before.
	slices.SortStableFunc(kept, func(a, b Registration) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Name, b.Name)) })
	dropped := false
	for _, m := range kept {
		if err := r.take(m); err != nil {
			dropped = true
			r.log.Warn("a registered module is not watched any more", "module", m.Name, "reason", err, "hint", shivx.HintOf(err))
			r.record(ctx, shivx.EventModuleRemoved, m.Name, Removal{m, err.Error()})
		}
	}
	if dropped {
		if err := r.save(); err != nil {
			r.log.Error("the registered modules were not kept", "error", err)
		}
	}
}

// take watches one kept registration, if today's configuration allows it.
func (r *Registry) take(m Registration) error {
	if _, configured := r.cfg.Component(m.Name); configured {
		return ErrConfigured
	}
	m.Lease = min(m.Lease, shivx.Duration(r.cfg.Resilience.Modules.MaxLease))
	if err := r.check(m.Name, m.Lease.Std()); err != nil {
		return err
	}
	if _, twice := r.get(m.Name); twice {
		return errors.New("it is registered twice")
	}
	if r.count() >= r.cfg.Resilience.Modules.MaxRegistered {
		return ErrFull
	}
	if err := r.monitor.Add(r.component(m)); err != nil {
		return fmt.Errorf("watch it: %w", err)
	}
	r.set(m)
	return nil
}

// readFile reads the kept registrations.
func readFile(path string) ([]Registration, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the registered modules: %w", err)
	}
	defer func() { _ = in.Close() }()
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the registered modules: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("decode the registered modules: %w", err)
	}
	if dec.More() {
		return nil, fmt.Errorf("%s holds more than one document", path)
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("%s has version %d, not 1", path, f.Version)
	}
	return f.Modules, nil
}

// setAside moves a file that cannot be read out of the way.
func (r *Registry) setAside(cause error) {
	args := []any{"error", cause, "hint", "programs that get the answer 404 to a heartbeat register again"}
	aside := r.path + ".damaged-" + time.Now().UTC().Format("20060102T150405Z")
	if err := os.Rename(r.path, aside); err != nil {
		args = append(args, "not_set_aside", err)
	} else {
		args = append(args, "kept", aside)
	}
	r.log.Error("the registered modules are lost", args...)
}

// save keeps the registrations, durably: the file and then its folder are synced.
func (r *Registry) save() error {
	data, err := json.MarshalIndent(file{Version: 1, Modules: r.Registrations()}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the registered modules: %w", err)
	}
	dir := filepath.Dir(r.path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the folder of the registered modules: %w", err)
	}
	if err := renameio.WriteFile(r.path, append(data, '\n'), 0o640); err != nil {
		return fmt.Errorf("keep the registered modules: %w", err)
	}
	if err := durable.SyncDir(dir); err != nil {
		return fmt.Errorf("sync the folder of the registered modules: %w", err)
	}
	return nil
}
