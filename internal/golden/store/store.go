package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"github.com/oklog/ulid/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// Options say who may read, write and be believed.
type Options struct {
	// Key signs the goldens that are written, and its public half is trusted. Nil: only reading.
	Key ed25519.PrivateKey
	// Trusted are the keys whose goldens are believed.
	Trusted []ed25519.PublicKey
	// Recipients may read a store that is created; none: it is not encrypted.
	Recipients []age.Recipient
	// Identities open an encrypted store. Without one its goldens can be listed and checked, but
	// neither read nor added to. For a store that is not encrypted they are an error.
	Identities []age.Identity
	// CloseBackend says that Close closes the backend as well, if that can be.
	CloseBackend bool
	// Log gets what is wrong but hinders nobody; nil: nothing is logged.
	Log *slog.Logger
}

// Store is open. Its methods may be called by many goroutines at once.
type Store struct {
	backend Backend
	id      string
	keys    *keys // nil: not encrypted, or locked
	locked  bool  // encrypted, and no identity was given
	sign    ed25519.PrivateKey
	trusted []ed25519.PublicKey
	log     *slog.Logger
	// closeBackend says that Close closes that, too.
	closeBackend bool
	decoder      *zstd.Decoder
	buffers      sync.Pool // of *[]byte, for stored blocks
	files        *files
	// long is held by whoever reads a long header, lest many need much memory at once.
	long sync.Mutex
	// pace is the constants', but in tests.
	pace pace
}

// identity is the file that makes a folder a store.
type identity struct {
	Format    int    `json:"format"`
	ID        string `json:"id"`
	Created   string `json:"created"`
	Encrypted bool   `json:"encrypted"`
}

func newIdentity(encrypted bool) identity {
	id := ulid.Make()
	return identity{Format: format.Version, ID: id.String(), Created: created(id), Encrypted: encrypted}
}

// created is the time in an id: so neither of the two can change alone.
func created(id ulid.ULID) string { return id.Timestamp().UTC().Format(time.RFC3339Nano) }

func (i identity) line() ([]byte, error) {
	line, err := json.Marshal(i)
	return append(line, '\n'), err
}

// parseIdentity accepts what line writes and nothing else.
func parseIdentity(line []byte) (identity, error) {
	var i identity
	if err := json.Unmarshal(line, &i); err != nil {
		return i, fmt.Errorf("%w: %s: %w", format.ErrDamaged, identityName, err)
	}
	if i.Format > format.Version {
		err := fmt.Errorf("%w: the store is of format %d, and this program knows %d", format.ErrVersion, i.Format, format.Version)
		return i, shivx.Hint(err, "use a newer version of shivx")
	}
	again, err := i.line()
	id, idErr := ulid.ParseStrict(i.ID)
	if err != nil || idErr != nil || i.Format < 1 || !bytes.Equal(again, line) || created(id) != i.Created || id.String() != i.ID {
		err := fmt.Errorf("%w: %s is not as it was written", format.ErrDamaged, identityName)
		return i, shivx.Hint(err, "put the file back as it was: its goldens name the store's id, and its time is that in the id")
	}
	return i, nil
}

// Create makes a store where nothing is yet, and opens it.
func Create(ctx context.Context, b Backend, o Options) (*Store, error) {
	release, err := lock(ctx, b, Exclusive)
	if err != nil {
		return nil, err
	}
	defer func() { _ = release() }()
	if err := checkEmpty(ctx, b); err != nil {
		return nil, fmt.Errorf("create a store: %w", err)
	}
	// A key alone is what a Create that was killed has left.
	if err := b.Remove(ctx, keyName); err != nil {
		return nil, err
	}
	if len(o.Recipients) > 0 {
		sealed, err := newKey(o.Recipients)
		if err != nil {
			return nil, err
		}
		if err := put(ctx, b, keyName, sealed); err != nil {
			return nil, err
		}
	}
	line, err := newIdentity(len(o.Recipients) > 0).line()
	if err != nil {
		return nil, err
	}
	// The identity comes last: a store that has one is whole.
	if err := put(ctx, b, identityName, line); err != nil {
		return nil, err
	}
	if err := b.Sync(ctx); err != nil {
		return nil, err
	}
	return Open(ctx, b, o)
}

func checkEmpty(ctx context.Context, b Backend) error {
	for info, err := range b.List(ctx, "") {
		if err != nil {
			return err
		}
		if info.Name != keyName {
			err := fmt.Errorf("%s holds %s: a store is created where nothing is yet", place(b), info.Name)
			return shivx.Hint(err, "name an empty folder, or open the store that is there")
		}
	}
	return nil
}

// Open opens a store. Errors are fs.ErrNotExist where none is, ErrVersion, ErrDamaged and
// ErrIdentity.
func Open(ctx context.Context, b Backend, o Options) (*Store, error) {
	line, err := get(ctx, b, identityName)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s is not a golden store: it has no %s: %w", place(b), identityName, fs.ErrNotExist)
		return nil, shivx.Hint(err, "check the path of the store; a new one has to be created first")
	}
	if err != nil {
		return nil, err
	}
	i, err := parseIdentity(line)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", place(b), err)
	}
	s := &Store{
		backend: b, id: i.ID, sign: o.Key, trusted: slices.Clone(o.Trusted), log: o.Log,
		buffers: sync.Pool{New: func() any { return new([]byte) }}, files: newFiles(b), pace: paceOf(b),
	}
	if o.Log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.closeBackend = o.CloseBackend
	if len(o.Key) == ed25519.PrivateKeySize {
		s.trusted = append(s.trusted, o.Key.Public().(ed25519.PublicKey))
	}
	if err := s.openKey(ctx, i.Encrypted, o.Identities); err != nil {
		return nil, fmt.Errorf("open %s: %w", place(b), err)
	}
	s.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	return s, err
}

// openKey reads the key of an encrypted store.
func (s *Store) openKey(ctx context.Context, encrypted bool, identities []age.Identity) error {
	sealed, err := get(ctx, s.backend, keyName)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing:
		return err
	case encrypted == missing:
		return fmt.Errorf("%w: the store is encrypted is %v, but %s is there is %v", format.ErrDamaged, encrypted, keyName, !missing)
	case !encrypted && len(identities) > 0:
		err := errors.New("the store is not encrypted, but a key for it is configured")
		return shivx.Hint(err, "somebody may have replaced the store; if it is meant to be so, remove the key from the configuration")
	case !encrypted:
		return nil
	case len(identities) == 0:
		s.locked = true
		return nil
	}
	s.keys, err = openKeys(sealed, identities)
	return err
}

// ID returns the store's id, a ULID.
func (s *Store) ID() string { return s.id }

// Encrypted says whether the store is encrypted.
func (s *Store) Encrypted() bool { return s.keys != nil || s.locked }

// KeyCheck is a hash that says which key an encrypted store has, without telling it: a host that remembers it
// notices another one. It is empty for a store that is not encrypted, and for one that was opened without an identity.
func (s *Store) KeyCheck() string {
	if s.keys == nil {
		return ""
	}
	return s.keys.check.String()
}

// Lock locks the store until release is called or the process ends. Who backs up has a lock with its
// Writer; who reads goldens takes a Shared one, lest they are pruned meanwhile.
func (s *Store) Lock(ctx context.Context, mode Mode) (release func() error, err error) {
	return lock(ctx, s.backend, mode)
}

// Close closes the files that are kept open for reading. Goldens must not be used after it.
func (s *Store) Close() error {
	s.decoder.Close()
	err := s.files.close()
	if c, ok := s.backend.(io.Closer); ok && s.closeBackend {
		err = errors.Join(err, c.Close())
	}
	return err
}

func lock(ctx context.Context, b Backend, mode Mode) (func() error, error) {
	if l, ok := b.(Locker); ok {
		return l.Lock(ctx, mode)
	}
	return func() error { return nil }, nil
}

// place is the backend's name for people.
func place(b Backend) string {
	if s, ok := b.(fmt.Stringer); ok {
		return s.String()
	}
	return "the store"
}

// get reads a small object.
func get(ctx context.Context, b Backend, name string) ([]byte, error) {
	o, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = o.Close() }()
	const most = 1 << 20
	if o.Size() > most {
		return nil, fmt.Errorf("%w: %s has %d bytes", format.ErrDamaged, name, o.Size())
	}
	data := make([]byte, o.Size())
	if _, err := io.ReadFull(io.NewSectionReader(o, 0, o.Size()), data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// put writes a small object.
func put(ctx context.Context, b Backend, name string, data []byte) error {
	f, err := b.Create(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = f.Discard() }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := b.Sync(ctx); err != nil {
		return err
	}
	return f.Publish(ctx, name)
}
