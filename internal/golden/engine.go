// Package golden takes and restores goldens: whole copies of the state of a set, which is what belongs
// together on a host, such as the configuration, the data and the database of a shop.
//
// The engine needs neither Temporal nor the agent: the runbooks call its steps through activities, and
// the command line calls the same steps in its own process when all else is down.
package golden

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"filippo.io/age"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/restore"
	"github.com/shivx/shivx/internal/golden/signing"
	"github.com/shivx/shivx/internal/golden/source"
	"github.com/shivx/shivx/internal/golden/store"
)

// Options of New.
type Options struct {
	// Host is this agent's name; goldens are kept apart by it.
	Host string
	// Dir is the engine's own folder: the signing key, exports and journals of restores.
	Dir  string
	Sets []Set
	// Backend opens where the store is, and makes the place if create is set. The error is fs.ErrNotExist
	// where there is none.
	Backend func(ctx context.Context, create bool) (store.Backend, error)
	// Keys returns who may read a store that is made, and what opens one; nil: it is not encrypted.
	Keys func() ([]age.Recipient, []age.Identity, error)
	// Parity is added to what is stored, in percent of it; 0: none.
	Parity int
	// Trusted are further keys whose goldens are believed.
	Trusted []ed25519.PublicKey
	// Patience is for how long a restore that nobody asked for again keeps others away; 0: 30 minutes.
	Patience time.Duration
	Logger   *slog.Logger
	// Record appends to a ledger that this process or another has open; nil: nobody does.
	Record func(ctx context.Context, path, key string, fields any) error
}

// patience is more than a run waits between two steps of a restore, while services stop or people are asked.
const patience = 30 * time.Minute

// Set is what is backed up and restored together.
type Set struct {
	Name string
	// Paths are absolute; Exclude are absolute glob patterns.
	Paths   []string
	Exclude []string
	// Sources are exported in place of live files.
	Sources []source.Source
	// Ledgers are our own audit logs. A restore joins them and never overwrites newer records.
	Ledgers []string
	// Validations look at what a restore has staged.
	Validations []config.GoldenValidation
	// Keep says which goldens stay, Snapshots the same of snapshots.
	Keep, Snapshots store.Policy
}

// Errors that a caller may have to tell apart. ErrDamaged and ErrUntrusted are the store's.
var (
	ErrUnknownSet    = errors.New("no such set")
	ErrUnknownGolden = errors.New("no such golden")
	ErrInvalid       = errors.New("a staged file is not valid")
	// ErrOver says that a restore was ended by another: it can neither be gone on with nor undone.
	ErrOver = errors.New("the restore is over")
)

// Engine does the steps; its methods may be called by many goroutines and processes at once.
type Engine struct {
	o Options
	// turn is held by whoever works on staged, the restore that this process has; touched is when
	// somebody asked for it last.
	turn    chan struct{}
	staged  *restore.Staged
	touched time.Time
	// checked is the golden that was verified last.
	checked atomic.Pointer[checkedGolden]
}

// New returns an engine; nothing is opened or made yet.
func New(o Options) *Engine {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Patience == 0 {
		o.Patience = patience
	}
	return &Engine{o: o, turn: make(chan struct{}, 1)}
}

// Set returns the set of that name.
func (e *Engine) Set(name string) (Set, error) {
	for _, s := range e.o.Sets {
		if s.Name == name {
			return s, nil
		}
	}
	return Set{}, shivx.Hint(fmt.Errorf("%w: %q", ErrUnknownSet, name), "see golden.sets in the configuration of "+e.o.Host)
}

// Sets returns all sets.
func (e *Engine) Sets() []Set { return e.o.Sets }

// open opens the store. One that does not exist is made if create is set.
func (e *Engine) open(ctx context.Context, create bool, trust ...ed25519.PublicKey) (*store.Store, error) {
	key, err := signing.Key(e.o.Dir, create)
	if err != nil {
		return nil, err
	}
	o := store.Options{Key: key, Trusted: append(trust, e.o.Trusted...), Log: e.o.Logger}
	if e.o.Keys != nil {
		if o.Recipients, o.Identities, err = e.o.Keys(); err != nil {
			return nil, err
		}
	}
	b, err := e.o.Backend(ctx, create)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, b, o)
	if create && errors.Is(err, fs.ErrNotExist) {
		return store.Create(ctx, b, o)
	}
	return s, err
}

func (e *Engine) exports() string { return filepath.Join(e.o.Dir, "exports") }

// meter tells progress with its rate.
type meter struct {
	step  shivx.GoldenStep
	total func() (bytes, files int64)
	began time.Time
	tell  func(shivx.GoldenProgress)
}

func (e *Engine) meter(step shivx.GoldenStep, tell func(shivx.GoldenProgress), bytes, files int64) *meter {
	return &meter{step: step, total: func() (int64, int64) { return bytes, files }, began: time.Now(), tell: tell}
}

// at tells how much is done.
func (m *meter) at(bytes, files int64) {
	if m.tell == nil {
		return
	}
	p := shivx.GoldenProgress{Step: m.step, Bytes: bytes, Files: files}
	p.BytesTotal, p.FilesTotal = m.total()
	if s := time.Since(m.began).Seconds(); s > 0 {
		p.Rate = float64(bytes) / s
	}
	m.tell(p)
}
