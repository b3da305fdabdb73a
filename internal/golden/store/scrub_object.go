package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/shivx/shivx/internal/golden/format"
)

// ageHeader is how the first line of an age file begins.
const ageHeader = "age-encryption.org/v1\n"

// view is the store as b holds it, where signer is trusted as well. It is closed with its files alone.
func (s *Store) view(b Backend, signer ed25519.PublicKey) *Store {
	v := &Store{
		backend: b, id: s.id, keys: s.keys, locked: s.locked, sign: s.sign, trusted: slices.Clone(s.trusted), log: s.log,
		decoder: s.decoder, buffers: sync.Pool{New: func() any { return new([]byte) }}, files: newFiles(b), pace: s.pace,
	}
	if signer != nil {
		v.trusted = append(v.trusted, signer)
	}
	return v
}

// checkObject compares an object with what its name or its signature stands for: all of it, and the blocks
// of a pack with their ids. The error is that of ctx.
func (s *Store) checkObject(ctx context.Context, name string, told func(int64)) ([]Damage, error) {
	if h, ok := parsePackName(name); ok {
		return s.checkPackDeep(ctx, h, nil, told)
	}
	if _, _, ok := parseGoldenName(name); ok {
		return s.checkGolden(ctx, name, told)
	}
	err := s.checkSmall(ctx, name)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return []Damage{{Name: name, Err: missing(err)}}, nil
	}
	return nil, nil
}

// checkSmall checks the store's identity and key. The key's bytes can be compared with its parity
// alone, as nothing else stands for them.
func (s *Store) checkSmall(ctx context.Context, name string) error {
	data, err := get(ctx, s.backend, name)
	if err != nil {
		return err
	}
	switch name {
	case identityName:
		i, err := parseIdentity(data)
		if err == nil && i.ID != s.id && s.id != "" {
			err = fmt.Errorf("%w: the identity of another store", format.ErrDamaged)
		}
		return err
	case keyName:
		if !bytes.HasPrefix(data, []byte(ageHeader)) {
			return fmt.Errorf("%w: not a file of age", format.ErrDamaged)
		}
	}
	return nil
}

// differs says whether an object is not what its parity was made of. Without parity it is false.
func (s *Store) differs(ctx context.Context, name string) (bool, error) {
	sidecar, h, _, err := s.openParity(ctx, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, format.ErrDamaged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer sidecar.Close()
	object, err := s.backend.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer object.Close()
	if object.Size() != h.size {
		return true, nil
	}
	buf := make([]byte, h.chunk)
	for i := range h.data * h.rows {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		shard, row := i/h.rows, i%h.rows
		if err := h.read(object, buf, shard, row); err != nil {
			return false, fmt.Errorf("read %s: %w", name, err)
		}
		if sha256.Sum256(buf) != *h.sum(shard, row) {
			return true, nil
		}
	}
	return false, nil
}

// checkGolden checks the golden's own file, whoever has signed it.
func (s *Store) checkGolden(ctx context.Context, name string, told func(int64)) ([]Damage, error) {
	h, err := s.info(ctx, name)
	if h.header == nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return []Damage{{Name: name, Err: missing(err)}}, nil
	}
	v := s.view(s.backend, h.signer)
	c := &check{g: &Golden{s: v, name: name, head: h}, progress: told}
	_, err = c.segments(ctx)
	return c.damages, err
}
