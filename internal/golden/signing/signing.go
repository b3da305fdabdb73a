// Package signing keeps the key with which a host signs its goldens and its checkpoints, and reads the public
// halves of such keys.
package signing

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/durable"
)

// Home is the folder of the key below paths.var, and Name its name there.
const (
	Home = "recovery/golden"
	Name = "signing.key"
)

// Key reads the host's key in a folder; one that does not exist is made if create is set, else it is nil.
func Key(dir string, create bool) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, Name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, nil
		}
		if err := makeKey(path); err != nil {
			return nil, fmt.Errorf("make the key that signs goldens: %w", err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key that signs goldens: %w", err)
	}
	seed, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, shivx.Hint(fmt.Errorf("%s is no signing key", path),
			"put the file back from a copy; without it new goldens are signed by a new key, and older ones are believed only by golden.trusted_keys")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// makeKey makes the key unless another process is first.
func makeKey(path string) error {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	t, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o600), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = t.Cleanup() }()
	if _, err := fmt.Fprintln(t, base64.StdEncoding.EncodeToString(seed)); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	if err := os.Link(t.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(dir)
}

// ParseKey reads a public key in base64, as goldens are listed with.
func ParseKey(text string) (ed25519.PublicKey, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, shivx.Hint(fmt.Errorf("%q is no public key", text), "copy it from the list of goldens on the host that signed them: 44 characters, ending in =")
	}
	return key, nil
}

// ParseKeys reads public keys as ParseKey does.
func ParseKeys(texts []string) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, t := range texts {
		k, err := ParseKey(t)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}
