package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"sync"

	"filippo.io/age"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// ErrIdentity says that the key of an encrypted store cannot be had with the identities given.
var ErrIdentity = errors.New("no identity opens the store")

const (
	keySize   = 32
	nonceSize = 12
)

// keys are what the store's key is used for, each with a key of its own.
type keys struct {
	blocks, segments cipher.AEAD
	macs             sync.Pool // of *mac
	// check tells the key from others.
	check format.Hash
}

// mac makes ids. It holds what goes in and out, which would otherwise be allocated for each.
type mac struct {
	hash    hash.Hash
	in, out format.Hash
}

// newKey makes a store's key and returns it encrypted.
func newKey(recipients []age.Recipient) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypt the store's key: %w", err)
	}
	if _, err := io.WriteString(w, hex.EncodeToString(key)+"\n"); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

func openKeys(sealed []byte, identities []age.Identity) (*keys, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	if _, none := errors.AsType[*age.NoIdentityMatchError](err); none {
		return nil, shivx.Hint(ErrIdentity, "configure the age identity (AGE-SECRET-KEY-1…) of a recipient that the store was created for")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", format.ErrDamaged, keyName, err)
	}
	text, err := io.ReadAll(io.LimitReader(r, 2*keySize+2))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", format.ErrDamaged, keyName, err)
	}
	key, err := hex.DecodeString(string(bytes.TrimSuffix(text, []byte{'\n'})))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%w: %s does not hold a key", format.ErrDamaged, keyName)
	}
	k := new(keys)
	if k.blocks, err = sealing(derive(key, "shivx golden block")); err != nil {
		return nil, err
	}
	if k.segments, err = sealing(derive(key, "shivx golden entries")); err != nil {
		return nil, err
	}
	k.check = format.Hash(derive(key, "shivx golden check"))
	ids := derive(key, "shivx golden id")
	k.macs.New = func() any { return &mac{hash: hmac.New(sha256.New, ids)} }
	return k, nil
}

func derive(key []byte, purpose string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(purpose))
	return m.Sum(nil)
}

func sealing(key []byte) (cipher.AEAD, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(c)
}

// blockID is what a block is called in packs: in an encrypted store nobody who has not the key can
// find out whether it holds a file that he knows.
func (s *Store) blockID(h format.Hash) format.Hash {
	if s.keys == nil {
		return h
	}
	m := s.keys.macs.Get().(*mac)
	defer s.keys.macs.Put(m)
	m.hash.Reset()
	m.in = h
	m.hash.Write(m.in[:])
	m.hash.Sum(m.out[:0])
	return m.out
}

// seal encrypts buf[at:], which begins with room for a nonce, in place, and appends the tag.
func seal(aead cipher.AEAD, buf []byte, at int, about []byte) []byte {
	nonce := buf[at : at+nonceSize]
	_, _ = rand.Read(nonce) // never fails
	return aead.Seal(buf[:at+nonceSize], nonce, buf[at+nonceSize:], about)
}

// unseal decrypts in place what seal made.
func unseal(aead cipher.AEAD, sealed, about []byte) ([]byte, error) {
	if len(sealed) < format.SealSize {
		return nil, fmt.Errorf("%w: %d bytes are too short to be sealed", format.ErrDamaged, len(sealed))
	}
	rest := sealed[nonceSize:]
	plain, err := aead.Open(rest[:0], sealed[:nonceSize], rest, about)
	if err != nil {
		return nil, fmt.Errorf("%w: the key does not open it", format.ErrDamaged)
	}
	return plain, nil
}

// aboutSegment is what a segment is sealed together with: so it cannot stand elsewhere.
func aboutSegment(golden string, i int) []byte {
	return strconv.AppendInt(append([]byte(golden), '/'), int64(i), 10)
}

// errLocked is what reading an encrypted store without an identity leads to.
func errLocked() error {
	return shivx.Hint(fmt.Errorf("the store is encrypted: %w", ErrIdentity), "configure the age identity of the store")
}
