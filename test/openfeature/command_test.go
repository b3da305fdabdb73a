package openfeature

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestInstalledPackages: another lock, or none of npm's, means that npm has to install.
func TestInstalledPackages(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	require.False(t, installed(dir))
	write("package-lock.json", `{"name":"x","packages":{"":{"name":"x"},"node_modules/a":{"version":"1"}}}`)
	require.False(t, installed(dir))
	write("node_modules/.package-lock.json", `{"name":"x","packages":{"node_modules/a":{"version":"1"}}}`)
	require.True(t, installed(dir))
	write("package-lock.json", `{"name":"x","packages":{"":{"name":"x"},"node_modules/a":{"version":"2"}}}`)
	require.False(t, installed(dir))
	write("package-lock.json", `{"name":"x","packages":{"":{"name":"x"},"node_modules/a":{"version":"1"},"node_modules/b":{"version":"1"}}}`)
	require.False(t, installed(dir))
	write("node_modules/.package-lock.json", `{`)
	require.False(t, installed(dir))
}

// TestThisInstallation: what npm ci leaves behind counts as installed.
func TestThisInstallation(t *testing.T) {
	Command(t)
	require.True(t, installed("."))
}
