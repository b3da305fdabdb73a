package guardian

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx/internal/guardian/ingest"
)

// checkpoint is how far each log was read, and what the detector knew by then. Both stand in one file,
// which is replaced as a whole: after a crash the lines behind it are read again by a detector that has
// not seen them.
type checkpoint struct {
	Version   int                        `json:"version"`
	Positions map[string]ingest.Position `json:"positions"`
	Detector  []byte                     `json:"detector"`
}

const checkpointVersion = 1

func (g *Guardian) checkpointPath() string { return filepath.Join(g.o.Dir, "guardian.checkpoint") }

// loadCheckpoint goes on without one that cannot be read: logs are then read from their ends, and it
// says so.
func (g *Guardian) loadCheckpoint() {
	data, err := os.ReadFile(g.checkpointPath())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var c checkpoint
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err == nil && c.Version != checkpointVersion {
		err = fmt.Errorf("it has the version %d; this program reads %d", c.Version, checkpointVersion)
	}
	if err != nil {
		g.log.Error("the place in the logs is lost: they are read from their ends", "file", g.checkpointPath(), "error", err)
		return
	}
	if err := g.detector.Load(bytes.NewReader(c.Detector)); err != nil {
		g.log.Error("what the detector knew is lost: sources start afresh", "file", g.checkpointPath(), "error", err)
	}
	maps.Copy(g.positions, c.Positions)
}

// saveCheckpoint waits for the records of what it covers: what is read again after a crash must not be
// less than what is not recorded yet.
func (g *Guardian) saveCheckpoint(ctx context.Context) error {
	g.saving.Lock() // an older one must not take the place of a newer one
	defer g.saving.Unlock()
	g.mu.Lock()
	if !g.moved {
		g.mu.Unlock()
		return nil
	}
	var detector bytes.Buffer
	err := g.detector.Save(&detector)
	c := checkpoint{Version: checkpointVersion, Positions: maps.Clone(g.positions), Detector: detector.Bytes()}
	g.moved = false
	mark := g.records.mark()
	g.mu.Unlock()
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, endTimeout)
		defer cancel()
		if !g.records.await(limited, mark) {
			g.unsaved()
			return nil // the recorder has said why
		}
	}
	if err != nil {
		return fmt.Errorf("save what the detector knows: %w", err)
	}
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the place in the logs: %w", err)
	}
	if err := renameio.WriteFile(g.checkpointPath(), data, 0o600); err != nil {
		g.unsaved()
		return fmt.Errorf("save the place in the logs: %w", err)
	}
	return nil
}

// unsaved makes the next call of saveCheckpoint save again.
func (g *Guardian) unsaved() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved = true
}

// seed keeps strangers from choosing sources that collide in the detector's table.
func seed() uint64 { return rand.Uint64() }
