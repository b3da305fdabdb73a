package api

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// TokenFile is the path of the administrator's token below the configured var folder.
const TokenFile = "api.token"

// Token returns the token in the var folder, making one when there is none.
func Token(dir string) (string, error) {
	path := filepath.Join(dir, TokenFile)
	b, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(b))) >= 32 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	token := newSecret()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("make the API token's folder: %w", err)
	}
	if err := renameio.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the API token: %w", err)
	}
	return token, nil
}

// newSecret returns 32 random bytes in hexadecimal.
func newSecret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(raw)
}
