package scaffold_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/scaffold"
	"github.com/shivx/shivx/plugins/sdk"
)

func TestNewPluginBuildsPassesItsTestAndRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module")
	}
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "rotate-keys")
	require.NoError(t, scaffold.New(dir, "rotate-keys"))
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		// All it needs is in the module cache, because this module needs it too.
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOSUMDB=off", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "go %v: %s", args, out)
	}
	run("mod", "edit", "-require=github.com/shivx/shivx@v0.0.0", "-replace=github.com/shivx/shivx="+root)
	run("vet", "./...")
	run("test", "./...")
	run("build", "-o", "rotate-keys", ".")

	path := filepath.Join(dir, "rotate-keys")
	sum, err := host.Sum(path)
	require.NoError(t, err)
	set := host.New(nil, []host.Spec{{Name: "rotate-keys", Path: path, SHA256: sum}}, nil)
	t.Cleanup(set.Close)
	r, err := set.Get(t.Context(), "rotate-keys")
	require.NoError(t, err)
	require.Equal(t, "rotate-keys", r.Describe().Name)
	require.Equal(t, []sdk.Step{sdk.StepRecover, sdk.StepCheck}, r.Describe().Steps)

	out, err := exec.Command(path).CombinedOutput()
	require.Error(t, err, "by hand it says what it is and fails")
	require.Contains(t, string(out), "sha256: "+sum)
	require.Contains(t, string(out), "path: "+path)
}

func TestGeneratedCodeIsFormatted(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, scaffold.New(dir, "a-b2"))
	out, err := exec.Command("gofmt", "-l", dir).CombinedOutput()
	require.NoError(t, err)
	require.Empty(t, string(out))
	require.FileExists(t, filepath.Join(dir, ".gitignore"))
}

func TestNewRefuses(t *testing.T) {
	for _, name := range []string{"", "Big", "9lives", "a/b", "../x", "a b"} {
		dir := filepath.Join(t.TempDir(), "d")
		require.ErrorContains(t, scaffold.New(dir, name), "not a plugin name")
		require.NoDirExists(t, dir)
	}
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "precious"), nil, 0o600))
	require.ErrorContains(t, scaffold.New(full, "good"), "not empty")
}
