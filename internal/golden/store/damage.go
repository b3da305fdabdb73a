package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shivx/shivx/internal/golden/format"
)

// Damage is a place of a store that is not as it was written, or cannot be read.
type Damage struct {
	// Name is the object's, such as packs/ab/abcd….pack.
	Name string
	// Offset and Length are the place in bytes; a Length of 0 means the object as a whole.
	Offset, Length int64
	// Block is the block's id in the pack, zero where no one block is concerned.
	Block format.Hash
	// Err says what is wrong.
	Err error
}

func (d Damage) String() string {
	var b strings.Builder
	b.WriteString(d.Name)
	if d.Length > 0 {
		fmt.Fprintf(&b, ", %d bytes at %d", d.Length, d.Offset)
	}
	if d.Block != (format.Hash{}) {
		fmt.Fprintf(&b, ", block %s", d.Block)
	}
	fmt.Fprintf(&b, ": %v", d.Err)
	return b.String()
}

// Proven says that the place was read and is not as it was written, or is not there. Otherwise it could
// not be read: it may be whole, and be read another time.
func (d Damage) Proven() bool {
	return errors.Is(d.Err, format.ErrDamaged) || errors.Is(d.Err, format.ErrVersion)
}

func proven(damages []Damage) bool {
	return !slices.ContainsFunc(damages, func(d Damage) bool { return !d.Proven() })
}

// DamageError is all the damage that a check found. It is an ErrDamaged, unless nothing is proven.
type DamageError struct{ Damages []Damage }

func (e *DamageError) Error() string {
	const shown = 3
	texts := make([]string, 0, shown+1)
	for _, d := range e.Damages[:min(shown, len(e.Damages))] {
		texts = append(texts, d.String())
	}
	if more := len(e.Damages) - shown; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	what := "damage at"
	if !e.proven() {
		what = "nothing can be read at"
	}
	return fmt.Sprintf("%s %d places: %s", what, len(e.Damages), strings.Join(texts, "; "))
}

// Is says that it is an ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == format.ErrDamaged && e.proven() }

func (e *DamageError) proven() bool { return slices.ContainsFunc(e.Damages, Damage.Proven) }
