package validate

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/testenv"
)

func needRoot(t *testing.T) {
	t.Helper()
	testenv.Need(t, "unshare", "mount")
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, for a view of the file system")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// nginxTree writes a configuration whose parts include one another by absolute paths below etc.
func nginxTree(t *testing.T, dir, etc, site string) {
	write(t, filepath.Join(dir, "nginx.conf"), "pid "+etc+".pid; error_log stderr; events {} http { access_log off; include "+etc+"/sites/*; }\n")
	write(t, filepath.Join(dir, "sites/app"), site)
}

// nginx -t accepts the files to come, not the live ones, although all paths are absolute.
func TestNginxInAView(t *testing.T) {
	needRoot(t)
	nginx := testenv.Need(t, "nginx")[0]
	const good, bad = "server { listen 127.0.0.1:9; }", "server { lissten 127.0.0.1:9; }"
	for name, ruin := range map[string]func(t *testing.T, etc string){
		"live is damaged": func(t *testing.T, etc string) { write(t, filepath.Join(etc, "sites/app"), bad) },
		"live is gone":    func(t *testing.T, etc string) { require.NoError(t, os.RemoveAll(etc)) },
		"live is a file":  func(t *testing.T, etc string) { require.NoError(t, os.RemoveAll(etc)); write(t, etc, "x") },
		"live is a dangling link": func(t *testing.T, etc string) {
			require.NoError(t, os.RemoveAll(etc))
			require.NoError(t, os.Symlink("/nonexistent", etc))
		},
		"live is a link elsewhere": func(t *testing.T, etc string) {
			require.NoError(t, os.Rename(etc, etc+"2"))
			require.NoError(t, os.Symlink(etc+"2", etc))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			etc, staged := filepath.Join(dir, "etc:a,b/nginx"), filepath.Join(dir, "staged")
			nginxTree(t, etc, etc, good)
			nginxTree(t, staged, etc, good)
			ruin(t, etc)
			before := tree(t, dir)
			spec := command.Spec{Argv: []string{nginx, "-t", "-c", "{path}"}}
			live := filepath.Join(etc, "nginx.conf")
			require.NoError(t, Run(t.Context(), spec, live, []Staged{{etc, staged}}))
			write(t, filepath.Join(staged, "sites/app"), bad)
			err := Run(t.Context(), spec, live, []Staged{{etc, staged}})
			require.ErrorContains(t, err, `unknown directive "lissten" in `+etc+"/sites/app:1")
			require.NotEmpty(t, shivx.HintOf(err))
			problem, ok := errors.AsType[*Problem](err)
			require.True(t, ok)
			require.Equal(t, live, problem.Path)
			write(t, filepath.Join(staged, "sites/app"), good)
			_ = os.Remove(etc + ".pid")
			require.Equal(t, before, tree(t, dir))
			list, err := filepath.Glob(filepath.Join(os.TempDir(), "shivx-view-*"))
			require.NoError(t, err)
			require.Empty(t, list)
		})
	}
}

// tree lists all below dir with its content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `cd "$1" && find . -printf '%p %y %m %U %l\n' | sort && find . -type f -exec sha256sum {} + | sort`, "sh", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// A restore in place brings single names: files, links, folders, and the removal of others.
func TestViewOfSingleNames(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	live, staged := filepath.Join(dir, "live"), filepath.Join(dir, "staged")
	write(t, filepath.Join(live, "same"), "same")
	write(t, filepath.Join(live, "edited"), "live")
	write(t, filepath.Join(live, "extra"), "live")
	write(t, filepath.Join(live, "more/x"), "live")
	write(t, filepath.Join(live, "turned/x"), "live")
	write(t, filepath.Join(staged, "1"), "staged")
	write(t, filepath.Join(staged, "2"), "new")
	write(t, filepath.Join(staged, "3/y"), "below")
	require.NoError(t, os.Symlink("same", filepath.Join(staged, "4")))
	at := func(name, from string) Staged { return Staged{filepath.Join(live, name), filepath.Join(staged, from)} }
	list := []Staged{
		at("edited", "1"), at("new", "2"), at("folder", "3"), at("link", "4"), at("turned", "2"),
		{filepath.Join(live, "extra"), ""}, {filepath.Join(live, "more"), ""}, {filepath.Join(live, "never"), ""},
	}
	before := tree(t, dir)
	script := `cd "$1" && find . | sort | tr '\n' ' '; cat edited new folder/y link turned same; exit 3`
	err := Run(t.Context(), command.Spec{Argv: []string{"sh", "-c", script, "sh", live}}, filepath.Join(live, "same"), list)
	require.ErrorContains(t, err, ". ./edited ./folder ./folder/y ./link ./new ./same ./turned stagednewbelowsamenewsame")
	require.Equal(t, before, tree(t, dir))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), dir)
}

func TestRunFails(t *testing.T) {
	needRoot(t)
	run := func(ctx context.Context, argv ...string) error {
		return Run(ctx, command.Spec{Argv: argv, Timeout: 300 * time.Millisecond}, "/x/y", nil)
	}
	require.ErrorContains(t, run(t.Context()), "no command")
	require.ErrorContains(t, run(t.Context(), "sleep", "100"), "not end in time")
	require.ErrorContains(t, run(t.Context(), "false"), "without a word")
	require.ErrorContains(t, run(t.Context(), "no-such-program"), "not found")
	require.NoError(t, run(t.Context(), "test", "a/x/yb", "=", "a{path}b"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, "true"), context.Canceled)
}

func TestPlace(t *testing.T) {
	staged := []Staged{{"/etc/a", "/s/1"}, {"/etc/a/b", "/s/2"}, {"/etc/c", ""}}
	for live, want := range map[string]string{
		"/etc/a": "/s/1", "/etc/a/x": "/s/1/x", "/etc/a/b/x": "/s/2/x", "/etc/ab": "/etc/ab", "/etc/c": "/etc/c",
	} {
		require.Equal(t, want, place(live, staged))
	}
	require.NotContains(t, viewScript, "rm ")
}
