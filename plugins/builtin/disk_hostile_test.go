package builtin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

func TestDiskRefusesWhatIsOdd(t *testing.T) {
	b := newBin(t)
	outside := t.TempDir()
	precious := filepath.Join(outside, "precious")
	require.NoError(t, os.WriteFile(precious, []byte("data"), 0o600))
	old := time.Now().Add(-2 * week)
	require.NoError(t, os.Chtimes(precious, old, old))
	b.put("real/x", 10, 2*week)
	require.NoError(t, os.Symlink(outside, b.dir+"/out"))
	require.NoError(t, os.Symlink(b.dir+"/real", b.dir+"/in"))
	disk := filepath.Join(t.TempDir(), "disk")
	testenv.Tmpfs(t, disk, "size=1m")

	for folder, want := range map[string]string{
		b.dir + "/out": "symbolic link", b.dir + "/in": "symbolic link", b.dir + "/out/below": "symbolic link",
		b.dir + "/real/x": "no folder", disk: "the root of a file system",
	} {
		_, err := b.do(map[string]any{"rules": []any{b.old(nil), b.old(map[string]any{"path": folder, "match": "**"})}})
		require.ErrorContains(t, err, want, folder)
		require.FileExists(t, b.dir+"/real/x", "a step with an odd rule did something")
	}
	_, err := b.do(map[string]any{"rules": []any{b.old(map[string]any{"match": "**"})}})
	require.NoError(t, err)
	require.FileExists(t, precious, "a link was followed")
	require.NoFileExists(t, b.dir+"/real/x")

	for _, folder := range []string{"/", "/etc", "/etc/x", "/usr/lib", "/var", "/var/lib", "/home", "/home/ana", "/root", "/boot/x", "relative", "/tmp/../etc", "/tmp/", ""} {
		err := b.d.CheckOptions(jsonOf(t, map[string]any{"rules": []any{b.old(map[string]any{"path": folder})}}))
		require.ErrorContains(t, err, `option "rules[0].old_files.path"`, folder)
	}
	for _, folder := range []string{"/tmp", "/var/log", "/var/cache/x", "/home/ana/.cache", "/srv/x"} {
		require.NoError(t, b.d.CheckOptions(jsonOf(t, map[string]any{"rules": []any{b.old(map[string]any{"path": folder})}})), folder)
	}
}

func TestDiskSparesTheAgentsOwn(t *testing.T) {
	b := newBin(t)
	own := filepath.Join(b.dir, "agent/var")
	b.put("agent/var/ledger", 10, 2*week)
	require.NoError(t, os.Symlink(own, filepath.Join(t.TempDir(), "link")))
	other := t.TempDir()
	require.NoError(t, os.Mkdir(other+"/mount", 0o755))
	if err := unix.Mount(own, other+"/mount", "", unix.MS_BIND, ""); err == nil {
		t.Cleanup(func() { _ = unix.Unmount(other+"/mount", unix.MNT_DETACH) })
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(own, link))
	for _, protected := range []string{own, link} {
		b.d.protect = []string{protected}
		for _, folder := range []string{b.dir, b.dir + "/agent", own, other + "/mount"} {
			_, err := b.do(map[string]any{"rules": []any{b.old(map[string]any{"path": folder, "match": "**/l*"})}})
			require.ErrorContains(t, err, "files of the agent itself", folder)
		}
	}
	res, err := b.do(map[string]any{"rules": []any{b.old(map[string]any{"path": other, "match": "**"})}})
	require.NoError(t, err)
	require.Contains(t, strings.Join(res.Changes, "\n"), "another file system")
	require.FileExists(t, own+"/ledger")
}

// TestDiskIsNotLedAway: somebody who may write below the folder swaps folders for links, again and again.
func TestDiskIsNotLedAway(t *testing.T) {
	b := newBin(t)
	outside := t.TempDir()
	old := time.Now().Add(-2 * week)
	for i := range 50 {
		name := filepath.Join(outside, fmt.Sprint(i))
		require.NoError(t, os.WriteFile(name, nil, 0o600))
		require.NoError(t, os.Chtimes(name, old, old))
	}
	stop, swapped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(swapped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(b.dir+"/sub", b.dir+"/aside")
			_ = os.Symlink(outside, b.dir+"/sub")
			_ = os.Remove(b.dir + "/sub")
			_ = os.Rename(b.dir+"/aside", b.dir+"/sub")
		}
	}()
	removed := 0
	for range 20 {
		for i := range 50 {
			for _, dir := range []string{"sub", "aside"} {
				path := filepath.Join(b.dir, dir, fmt.Sprint(i))
				if os.MkdirAll(filepath.Dir(path), 0o755) == nil && os.WriteFile(path, nil, 0o600) == nil {
					_ = os.Chtimes(path, old, old)
				}
			}
		}
		res, err := b.do(map[string]any{"rules": []any{b.old(map[string]any{"match": "**"})}})
		require.NoError(t, err)
		removed += len(res.Changes)
		for i := range 50 { // what the test itself wrote through a link is put back
			name := filepath.Join(outside, fmt.Sprint(i))
			require.FileExists(t, name)
		}
	}
	close(stop)
	<-swapped
	require.Positive(t, removed)
}
