package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/shivx/shivx/internal/golden/format"
)

// CheckIdentity compares the two small files without which a store cannot be opened with their parity, where they
// have some: another id, or another key, may look as good as the right one. The error is ErrDamaged.
func CheckIdentity(ctx context.Context, b Backend) error {
	s := &Store{backend: b, log: slog.New(slog.DiscardHandler), files: newFiles(b)}
	for _, name := range []string{identityName, keyName} {
		damaged, err := s.differs(ctx, name)
		if err != nil {
			return err
		}
		if damaged {
			return fmt.Errorf("%w: %s is not what its parity was made from", format.ErrDamaged, name)
		}
	}
	return nil
}
