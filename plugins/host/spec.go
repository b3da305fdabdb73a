package host

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/shivx/shivx/plugins/sdk"
)

// check refuses an executable that is missing, not executable, not pinned, not the pinned one,
// or open to change by everybody on the machine.
func (s Spec) check() error {
	fail := func(cause error, hint, format string, args ...any) error {
		return &sdk.Fail{Message: fmt.Sprintf("plugin %s: ", s.Name) + fmt.Sprintf(format, args...), Hint: hint, Err: cause}
	}
	if !filepath.IsAbs(s.Path) {
		return fail(nil, "write the whole path", "the path %q is not absolute", s.Path)
	}
	info, err := os.Stat(s.Path)
	if err != nil {
		return fail(err, "correct the plugin's path in the configuration", "%v", err)
	}
	if !info.Mode().IsRegular() {
		return fail(nil, "correct the plugin's path in the configuration", "%s is not a file", s.Path)
	}
	if info.Mode().Perm()&0o111 == 0 {
		return fail(nil, "chmod +x "+s.Path, "%s is not executable", s.Path)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fail(nil, "chmod o-w "+s.Path, "%s can be written by everybody", s.Path)
	}
	if s.SHA256 == "" {
		return fail(nil, "pin it: "+s.actual(), "%s is not pinned", s.Path)
	}
	sum, err := hex.DecodeString(s.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return fail(nil, "", "sha256 %q is not 64 hexadecimal digits", s.SHA256)
	}
	same, err := (&goplugin.SecureConfig{Checksum: sum, Hash: sha256.New()}).Check(s.Path)
	if err != nil {
		return fail(err, "", "cannot read the executable: %v", err)
	}
	if !same {
		return fail(goplugin.ErrChecksumsDoNotMatch, "if the change was meant, pin the new one: "+s.actual(),
			"%s is not the executable that was pinned", s.Path)
	}
	return nil
}

// actual returns the line that pins the file as it is now.
func (s Spec) actual() string {
	sum, err := Sum(s.Path)
	if err != nil {
		return err.Error()
	}
	return "sha256: " + sum
}

// Sum returns the SHA-256 of an executable in the form a Spec takes.
func Sum(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read plugin: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
