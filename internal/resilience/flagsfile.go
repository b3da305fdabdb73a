package resilience

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
)

// Flags is the content of the flags file, one JSON object, for programs that only read files. The
// file is replaced whole at each change, so that a reader sees the old or the new answers and
// never a part; who watches it must watch its folder, or look at it by name again.
type Flags struct {
	Host  string      `json:"host"`
	Level shivx.Level `json:"level"`
	// ChangedAt is when these answers began to hold.
	ChangedAt time.Time `json:"changed_at"`
	// Version is the number of the change of the level that made them.
	Version uint64 `json:"version"`
	// Features by name.
	Features map[string]Flag `json:"features"`
}

// Flag is one feature in the flags file.
type Flag struct {
	Enabled bool   `json:"enabled"`
	Reason  string `json:"reason"`
}

// flagsFile is the file and the signal to write it.
type flagsFile struct {
	path string
	// write asks for the file to be written; again asks for that only if it failed.
	write, again chan struct{}
}

func newFlagsFile(path string) *flagsFile {
	return &flagsFile{path: path, write: make(chan struct{}, 1), again: make(chan struct{}, 1)}
}

func (f *flagsFile) changed() { wake(f.write) }
func (f *flagsFile) retry()   { wake(f.again) }

// followFlags keeps the flags file up to date until ctx ends. A slow disk delays nothing else.
func (c *Core) followFlags(ctx context.Context) {
	if c.flags.path == "" {
		return
	}
	failed := c.writeFlags()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.flags.write:
		case <-c.flags.again:
			if !failed {
				continue
			}
		}
		failed = c.writeFlags()
	}
}

// writeFlags writes the newest answers and says whether that failed.
func (c *Core) writeFlags() (failed bool) {
	const what = "flags file"
	err := replaceFlags(c.flags.path, c.o.Host, c.Features())
	if err == nil {
		c.setTrouble(what, "")
		return false
	}
	if c.setTrouble(what, err.Error()+"; it is tried again at each sample") {
		c.log.Error("the flags file could not be written; it is tried again at each sample", "error", err)
	}
	return true
}

func replaceFlags(path, host string, s *Snapshot) error {
	flags := Flags{Host: host, Level: s.Level, ChangedAt: s.Changed, Version: s.Version, Features: map[string]Flag{}}
	for _, f := range s.List {
		flags.Features[f.Name] = Flag{Enabled: f.Enabled, Reason: f.Reason}
	}
	data, err := json.MarshalIndent(flags, "", "  ")
	if err != nil {
		return fmt.Errorf("write the flags file: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the flags file: %w", err)
	}
	err = renameio.WriteFile(path, append(data, '\n'), 0o644, renameio.WithTempDir(dir), renameio.WithStaticPermissions(0o644))
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write the flags file: %w", err)
	}
	return nil
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
