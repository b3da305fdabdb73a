package examples

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/sdktest"
)

// TestGoPluginConformsAsAProcess builds the Go example as its author would and checks it through
// the host; its own module checks it in its process.
func TestGoPluginConformsAsAProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "release-rollback")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = "go-toggle"
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	site := t.TempDir()
	current := filepath.Join(site, "current")
	bad := filepath.Join(site, "releases", "2")
	require.NoError(t, os.MkdirAll(filepath.Join(site, "releases", "1"), 0o755))
	require.NoError(t, os.MkdirAll(bad, 0o755))
	require.NoError(t, os.Symlink(bad, current))
	target := func() string {
		now, err := os.Readlink(current)
		return fmt.Sprint(now, err)
	}
	sdktest.Run(t, sdktest.Suite{
		Command: []string{path},
		Options: map[string]string{"releases": filepath.Join(site, "releases"), "current": current},
		Break:   func() error { return errors.Join(os.Remove(current), os.Symlink(bad, current)) },
		Healthy: func() error {
			if target() != filepath.Join(site, "releases", "1")+"<nil>" {
				return errors.New(target())
			}
			return nil
		},
		State: target,
	})
}
