package golden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/oklog/ulid/v2"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/durable"
	"github.com/shivx/shivx/internal/ledger"
)

// unrecorded is the folder below paths.var of records that wait for the agent, which has the ledger open.
const unrecorded = "recovery/golden/unrecorded"

// Waiting keeps records in files until whoever has the ledgers open, which is the agent as a rule, takes
// them up. A restore in another process opens none before its end: it may have to bring one back.
type Waiting struct{ varDir, dir string }

var _ Ledger = (*Waiting)(nil)

// waitingRecord is one file.
type waitingRecord struct {
	// Ledger is the path of the ledger that it is for; "": the operational one.
	Ledger string          `json:"ledger,omitempty"`
	Key    string          `json:"key"`
	Event  json.RawMessage `json:"event"`
}

// OpenWaiting returns the records that wait below a var folder.
func OpenWaiting(varDir string) (*Waiting, error) {
	w := &Waiting{varDir, filepath.Join(varDir, unrecorded)}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make room for records that wait for the agent: %w", err)
	}
	return w, nil
}

// Find finds nothing: what waits is of this process, which does not repeat its steps.
func (*Waiting) Find(string) (ledger.Record, bool, error) { return ledger.Record{}, false, nil }

// Append writes a record to a file, which is durable when it returns. It has no number yet.
func (w *Waiting) Append(ctx context.Context, key string, event any) (ledger.Record, error) {
	return ledger.Record{}, w.Record(ctx, "", key, event)
}

// Record is Append for the ledger at path; "" stands for the operational one.
func (w *Waiting) Record(_ context.Context, path, key string, event any) error {
	data, err := json.Marshal(event)
	if err != nil {
		return err
	}
	if data, err = json.Marshal(waitingRecord{path, key, data}); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(w.dir, ulid.Make().String()+".json"), data, 0o600); err != nil {
		return err
	}
	return durable.SyncDir(w.dir)
}

// Settle takes up what waits, as far as nobody else has the ledgers open.
func (w *Waiting) Settle(ctx context.Context, o ledger.Options) error {
	open := map[string]*ledger.Ledger{}
	err := TakeUp(ctx, w.varDir, func(ctx context.Context, path, key string, event any) error {
		if path == "" {
			path = filepath.Join(w.varDir, config.OperationalLedger)
		}
		if open[path] == nil {
			l, err := ledger.Open(path, o) //nolint:contextcheck // what an open ledger does is not cut short
			if err != nil {
				return err
			}
			open[path] = l
		}
		_, err := open[path].Append(ctx, key, event)
		return err
	})
	if errors.Is(err, ledger.ErrLocked) {
		err = nil
	}
	for _, l := range open {
		err = errors.Join(err, l.Close()) //nolint:contextcheck // what an open ledger does is not cut short
	}
	return err
}

// TakeUp gives what waits below a var folder to record, in order; "" for path stands for the operational
// ledger. A record that was taken up before a crash could remove its file is found by its key. One that
// cannot be read keeps no other away.
func TakeUp(ctx context.Context, varDir string, record func(ctx context.Context, path, key string, event any) error) error {
	dir := filepath.Join(varDir, unrecorded)
	entries, err := os.ReadDir(dir) // in the order of their names, which are ULIDs: in the order of time
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if p := filepath.Join(dir, e.Name()); filepath.Ext(p) == ".json" {
			if err := takeUp(ctx, p, record); err != nil {
				errs = append(errs, fmt.Errorf("take up the record %s: %w", p, err))
			}
		}
	}
	return errors.Join(errs...)
}

func takeUp(ctx context.Context, path string, record func(ctx context.Context, path, key string, event any) error) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another process has taken it up
	}
	if err != nil {
		return err
	}
	var r waitingRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	key := r.Key
	if key == "" {
		key = "waiting/" + filepath.Base(path)
	}
	if err := record(ctx, r.Ledger, key, r.Event); err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
