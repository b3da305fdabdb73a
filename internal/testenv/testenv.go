// Package testenv says what a test needs of the machine it runs on.
//
// On a developer's machine a test whose needs are not met is skipped with a word; where
// SHIVX_TEST_STRICT=1 is set, as in continuous integration, it fails instead.
package testenv

import (
	"os"
	"os/exec"
	"testing"
)

// Need looks every program up on the PATH (Debian's sbin folders included) and skips the test,
// or fails it in strict mode, when one is missing. It returns the paths in order.
func Need(t testing.TB, programs ...string) []string {
	t.Helper()
	var paths []string
	for _, p := range programs {
		path, err := lookPath(p)
		if err != nil {
			Missing(t, "needs the program "+p+" (apt-get install the package that has it)")
		}
		paths = append(paths, path)
	}
	return paths
}

// Missing skips the test with a reason, or fails it in strict mode.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("SHIVX_TEST_STRICT") == "1" {
		t.Fatal("strict: " + reason)
	}
	t.Skip(reason)
}

func lookPath(p string) (string, error) {
	path, err := exec.LookPath(p)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/lib/postgresql/15/bin/"} {
		if _, statErr := os.Stat(dir + p); statErr == nil {
			return dir + p, nil
		}
	}
	return "", err
}
