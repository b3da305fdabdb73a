package source

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/ledger"
)

// TypeLedgers is the type of the source of audit logs in a golden's header.
const TypeLedgers = "ledgers"

// LedgersOptions say which ledgers are exported.
type LedgersOptions struct {
	// Paths of the ledgers, no two of one name. One that does not exist is left out.
	Paths []string
	// At is the folder in which the copies stand in a golden: never that of the ledgers, so that no
	// restore puts a copy in the place of a ledger.
	At string
}

// Ledgers exports our own audit logs: whole records of one moment with their signed heads, without the
// key. Whoever writes to them goes on meanwhile.
type Ledgers struct {
	name string
	o    LedgersOptions
}

var _ Source = (*Ledgers)(nil)

// NewLedgers makes the source.
func NewLedgers(name string, o LedgersOptions) (*Ledgers, error) {
	if err := checkName(name, o.At); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range o.Paths {
		if err := checkName(name, p); err != nil {
			return nil, err
		}
		if slices.Contains(names, filepath.Base(p)) || within(p, o.At) {
			return nil, shivx.Hint(fmt.Errorf("source %s: the ledger %s cannot be kept as %s", name, p, filepath.Join(o.At, filepath.Base(p))),
				"give the ledgers names of their own, outside the folder for copies")
		}
		names = append(names, filepath.Base(p))
	}
	return &Ledgers{name: name, o: o}, nil
}

// Name is the configuration's.
func (l *Ledgers) Name() string { return l.name }

// Made says whether an export is of ledgers, whose copies stand where these would.
func (l *Ledgers) Made(in format.Source) bool { return in.Type == TypeLedgers && in.Path == l.o.At }

// At is the folder in which the copies stand in a golden.
func (l *Ledgers) At() string { return l.o.At }

// Prepare copies the ledgers.
func (l *Ledgers) Prepare(_ context.Context, dir string) (*Export, error) {
	f, err := newFolder(dir, exportPrefix, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range l.o.Paths {
		if _, err := ledger.CopyTo(p, f.path); err != nil {
			return nil, errors.Join(err, f.remove())
		}
	}
	return &Export{
		Overlays: map[string]string{l.o.At: f.path},
		Sources:  []format.Source{{Name: l.name, Type: TypeLedgers, Path: l.o.At}},
		closers:  []func(context.Context) error{f.close},
	}, nil
}
