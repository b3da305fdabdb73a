package api

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx"
)

// TokenFile is the path of the administrator's token below the configured var folder.
const TokenFile = "api.token"

// minToken is the length of the shortest token accepted, in bytes.
const minToken = 16

// Token returns the administrator's token in the var folder, making one when there is no file. A
// file that cannot be used is an error and left as it is.
func Token(dir string) (string, error) {
	token, err := readToken(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	token = newSecret()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("make the API token's folder: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, TokenFile), []byte(token+"\n"), 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
		return "", fmt.Errorf("keep the API token: %w", err)
	}
	return token, nil
}

// readToken returns the administrator's token in the var folder.
func readToken(dir string) (string, error) {
	path := filepath.Join(dir, TokenFile)
	f, err := os.Open(path)
	if err != nil {
		return "", shivx.Hint(fmt.Errorf("read the API token: %w", err), "a start of the agent makes a new one where there is none")
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	if others := info.Mode().Perm() & 0o077; others != 0 {
		return "", shivx.Hint(fmt.Errorf("%s has the mode %#o: others may read or change it", path, info.Mode().Perm()),
			"remove it and restart the agent, which makes a new one; if nobody has read it, chmod 600 is enough")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxBody))
	if err != nil {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if err := longEnough(token); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return token, nil
}

// longEnough is the one rule for every token, also those of the configuration.
func longEnough(token string) error {
	if len(token) < minToken {
		return shivx.Hint(fmt.Errorf("it has %d characters, fewer than %d", len(token), minToken), "make one with: openssl rand -hex 32")
	}
	return nil
}

// newSecret returns 32 random bytes in hexadecimal.
func newSecret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(raw)
}
