package golden

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/signing"
	"github.com/shivx/shivx/internal/golden/store"
)

// open opens the store. One that does not exist is made if create is set. The error is fs.ErrNotExist where
// nothing was ever stored.
func (e *Engine) open(ctx context.Context, create bool, trust ...ed25519.PublicKey) (*store.Store, error) {
	key, err := signing.Key(e.o.Dir, create)
	if err != nil {
		return nil, err
	}
	o := store.Options{Key: key, Trusted: append(trust, e.o.Trusted...), CloseBackend: true, Log: e.o.Logger}
	if e.o.Keys != nil {
		if o.Recipients, o.Identities, err = e.o.Keys(); err != nil {
			return nil, err
		}
	}
	p, err := e.readPin()
	if err != nil {
		return nil, err
	}
	b, err := e.o.Backend(ctx, create && p == nil)
	if p != nil && errors.Is(err, fs.ErrNotExist) {
		err = p.missing(err)
	}
	if err != nil {
		return nil, err
	}
	s, err := e.openIn(ctx, b, o, p, create)
	if c, ok := b.(io.Closer); ok && err != nil {
		_ = c.Close() // it may be closed already
	}
	return s, err
}

// openIn opens the store that b has.
func (e *Engine) openIn(ctx context.Context, b store.Backend, o store.Options, p *pin, create bool) (*store.Store, error) {
	s, err := store.Open(ctx, b, o)
	if err == nil {
		if err = store.CheckIdentity(ctx, b); err != nil {
			return nil, mendable(errors.Join(err, s.Close()))
		}
		return e.pinned(s, p, create)
	}
	if errors.Is(err, fs.ErrNotExist) {
		lost, listErr := holdsGoldens(ctx, b)
		switch {
		case listErr != nil:
			return nil, listErr
		case lost:
			err = fmt.Errorf("%w: the store has goldens, but not the file that makes it a store: %v", format.ErrDamaged, err) //nolint:errorlint // it is no store that does not exist
		case p != nil:
			return nil, p.missing(err)
		case create:
			if s, err = store.Create(ctx, b, o); err != nil {
				return nil, err
			}
			return e.pinned(s, nil, true)
		}
	}
	return nil, mendable(err)
}

// holdsGoldens says whether there are goldens in what may be no store.
func holdsGoldens(ctx context.Context, b store.Backend) (bool, error) {
	for _, err := range b.List(ctx, "goldens/") {
		return err == nil, err
	}
	return false, nil
}

// mendable adds to the error of a store that cannot be opened what mends it.
func mendable(err error) error {
	const command = "shivx golden scrub --repair mends what has parity"
	switch before := shivx.HintOf(err); {
	case errors.Is(err, store.ErrIdentity):
		return shivx.Hint(err, before+"; if that is what you have given, key.age may be damaged: "+command)
	case !errors.Is(err, format.ErrDamaged):
		return err
	case before != "":
		return shivx.Hint(err, command+"; else "+before)
	default:
		return shivx.Hint(err, command+"; else put golden.json and key.age back from a copy of the store")
	}
}

// openForRepair opens the store, and before mends what a store cannot be opened without if it has parity.
// Repaired are the names of what it has mended.
func (e *Engine) openForRepair(ctx context.Context, trust ...ed25519.PublicKey) (s *store.Store, repaired []string, err error) {
	s, err = e.open(ctx, false, trust...)
	if err == nil {
		return s, nil, nil
	}
	b, backendErr := e.o.Backend(ctx, false)
	if backendErr != nil {
		return nil, nil, err
	}
	// Whatever the error is: damage may look like another format, or another key.
	repaired, repairErr := store.RepairIdentity(ctx, b)
	if c, ok := b.(io.Closer); ok {
		repairErr = errors.Join(repairErr, c.Close())
	}
	if repairErr != nil {
		return nil, repaired, shivx.Hint(fmt.Errorf("%w; and it cannot be repaired: %w", err, repairErr), shivx.HintOf(repairErr))
	}
	if len(repaired) == 0 {
		return nil, nil, err
	}
	for _, name := range repaired {
		e.o.Logger.Warn("what the store cannot be opened without was damaged and is repaired", "file", name)
	}
	s, err = e.open(ctx, false, trust...)
	return s, repaired, err
}
