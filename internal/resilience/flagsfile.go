package resilience

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

const (
	// maxFlagReason bounds a reason in the flags file, in bytes.
	maxFlagReason = 500
	// flagRoom is for what stands around each feature, and around them all, in bytes.
	flagRoom = 100
)

// Flags is the content of the flags file, one JSON object and spaces after it, for programs that
// only read files. The file is replaced whole at each change, so that a reader sees the old or the
// new answers and never a part; who watches it must watch its folder, or look at it by name again.
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
	Enabled bool `json:"enabled"`
	// Reason is cut when it is longer than 500 bytes.
	Reason string `json:"reason"`
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
	if c.setTrouble(what, advised(err)+"; it is tried again at each sample") {
		c.log.Error("the flags file could not be written; it is tried again at each sample", "error", err, "hint", shivx.HintOf(err))
	}
	return true
}

// replaceFlags writes the answers, padded to a size that does not depend on the level, so that the
// file's spare has room for every later change.
func replaceFlags(path, host string, s *Snapshot) error {
	flags := Flags{Host: host, Level: s.Level, ChangedAt: s.Changed, Version: s.Version, Features: map[string]Flag{}}
	size := len(host) + flagRoom
	for _, f := range s.List {
		flags.Features[f.Name] = Flag{Enabled: f.Enabled, Reason: shortened(f.Reason)}
		size += len(f.Name) + maxFlagReason + flagRoom
	}
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(flags)
	if err == nil {
		blocks := (max(size, data.Len()) + block - 1) / block
		err = replaceFile(path, pad(data.Bytes(), int64(blocks*block)))
	}
	if err != nil {
		return fileHint(fmt.Errorf("write the flags file %s: %w", path, err))
	}
	return nil
}

// shortened cuts a reason that is too long for the flags file.
func shortened(s string) string {
	if len(s) <= maxFlagReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxFlagReason-len("…")], "") + "…"
}
