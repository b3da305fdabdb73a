package ledger

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/shivx/shivx"
)

// keyID stands for an idempotency key in the index: half of its SHA-256, so that an entry has
// a fixed size and no pointer.
type keyID [16]byte

func idOf(key string) keyID {
	sum := sha256.Sum256([]byte(key))
	return keyID(sum[:16])
}

// location is where a record stands: which segment of Ledger.segs, where, how long with its newline.
type location struct {
	segment uint32
	size    uint32
	off     int64
}

// Has says whether there is a record with the idempotency key. It reads no disk.
func (l *Ledger) Has(key string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, ok := l.index[idOf(key)]
	return ok && key != ""
}

// Find returns the record with the idempotency key. It is read from disk and checked.
func (l *Ledger) Find(key string) (Record, bool, error) {
	l.mu.RLock()
	defer l.mu.RUnlock() // held while reading, so that a rotation does not rename the file meanwhile
	at, ok := l.index[idOf(key)]
	if !ok || key == "" {
		return Record{}, false, nil
	}
	rec, err := readAt(l.segs[at.segment].path, at, key)
	if err != nil {
		return Record{}, false, fmt.Errorf("find ledger record by key %q: %w", key, err)
	}
	return rec, true, nil
}

func readAt(path string, at location, key string) (Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return Record{}, err
	}
	defer f.Close()
	line := make([]byte, at.size)
	if _, err := io.ReadFull(io.NewSectionReader(f, at.off, int64(at.size)), line); err != nil {
		return Record{}, fmt.Errorf("%s at byte %d: %w", path, at.off, err)
	}
	line = line[:len(line)-1]
	v, ok := parseLine(line)
	if !ok || sha256.Sum256(line[:v.hashed]) != v.hash || storedKey(line[:v.hashed]) != key {
		return Record{}, shivx.Hint(fmt.Errorf("%s at byte %d: %w", path, at.off, ErrDamaged),
			"the record was changed on disk; run `shivx ledger verify`")
	}
	return toRecord(line, v), nil
}
