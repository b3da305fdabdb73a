package restore

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// capability is a set of capabilities as the kernel keeps it: cap_net_bind_service.
var capability = []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// A file that its owner can still write to is given no rights: the file that has them is another one.
func TestNoRightsAreGivenInPlace(t *testing.T) {
	for name, c := range map[string]struct{ good, bad func(path string) error }{
		"set-id": {
			func(p string) error { return os.Chmod(p, 0o755|os.ModeSetuid) },
			func(p string) error { return os.Chmod(p, 0o755) },
		},
		"owner": {
			func(p string) error { return os.Chown(p, 0, 0) },
			func(p string) error { return os.Chown(p, 65534, 65534) },
		},
		"owner and set-id": {
			func(p string) error { return os.Chmod(p, 0o755|os.ModeSetuid) },
			func(p string) error { return os.Chown(p, 65534, 65534) },
		},
		"capability": {
			func(p string) error { return unix.Setxattr(p, "security.capability", capability, 0) },
			func(p string) error { return unix.Removexattr(p, "security.capability") },
		},
		"time of a set-id file": {
			func(p string) error { return os.Chmod(p, 0o775|os.ModeSetuid) },
			func(p string) error { return unix.Utimes(p, []unix.Timeval{{Sec: 1}, {Sec: 1}}) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			helper := dir + "/tree/helper"
			write(t, helper, "good")
			require.NoError(t, c.good(helper))
			g := take(t, dir+"/tree")
			want := picture(t, dir+"/tree")
			require.NoError(t, c.bad(helper))
			s, err := Stage(context.Background(), g, Options{Journal: t.TempDir(), InPlace: true})
			require.NoError(t, err)
			require.Len(t, s.Changes().List, 1)
			evil, err := os.OpenFile(helper, os.O_WRONLY, 0)
			require.NoError(t, err)
			defer evil.Close()
			_, err = s.Swap(context.Background())
			require.NoError(t, err)
			_, err = evil.WriteString("evil")
			require.NoError(t, err)
			same(t, want, picture(t, dir+"/tree"))
			require.NoError(t, s.Finish(context.Background(), false))
		})
	}
}

// What was written to a file after it was compared is noticed, whatever its owner makes of its times.
func TestAFileThatChangesAfterItWasComparedIsNotSwapped(t *testing.T) {
	for name, point := range map[string]string{"before the swap": "journal staged", "in the swap": "journal swapping"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/tree/conf", "good")
			g := take(t, dir+"/tree")
			require.NoError(t, os.Chmod(dir+"/tree/conf", 0o666))
			info, err := os.Stat(dir + "/tree/conf")
			require.NoError(t, err)
			rewrite := func(at string) {
				if at == point {
					require.NoError(t, os.WriteFile(dir+"/tree/conf", []byte("evil"), 0o666))
					require.NoError(t, os.Chtimes(dir+"/tree/conf", info.ModTime(), info.ModTime()))
				}
			}
			o := Options{Journal: t.TempDir(), InPlace: true, step: rewrite}
			s, err := Stage(context.Background(), g, o)
			if point == "journal swapping" {
				require.NoError(t, err)
				_, err = s.Swap(context.Background())
				require.NoError(t, s.Undo(context.Background()))
			}
			require.ErrorIs(t, err, errChanged)
			require.NotEmpty(t, shivx.HintOf(err))
			now, err := os.Stat(dir + "/tree/conf")
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o666), now.Mode())
			leftovers(t, o.Journal, dir)
			o.step = nil
			restoreAll(t, g, o)
			require.Equal(t, "good", read(t, dir+"/tree/conf"))
		})
	}
}

// A live file of which a new name is made is the one that was compared.
func TestOnlyWhatWasComparedIsLinked(t *testing.T) {
	for name, swap := range map[string]func(t *testing.T, path string){
		"another file": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			write(t, path, "evil")
		},
		"of the same content": func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+".was"))
			write(t, path, "good")
			require.NoError(t, os.Chown(path, 65534, 65534))
		},
		"a pipe": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, syscall.Mkfifo(path, 0o644))
		},
		"a link": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink("/etc/passwd", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/tree/a/file", "good")
			require.NoError(t, os.Mkdir(dir+"/tree/b", 0o755))
			require.NoError(t, os.Link(dir+"/tree/a/file", dir+"/tree/b/linked"))
			write(t, dir+"/tree/b/other", "good")
			g := take(t, dir+"/tree")
			require.NoError(t, os.Remove(dir+"/tree/b/linked"))
			write(t, dir+"/tree/b/other", "bad")
			o := Options{Journal: t.TempDir(), InPlace: true, step: func(at string) {
				if at == "journal staging" {
					swap(t, dir+"/tree/a/file")
				}
			}}
			_, err := Stage(context.Background(), g, o)
			require.ErrorIs(t, err, errChanged)
			require.NotEmpty(t, shivx.HintOf(err))
			require.NoFileExists(t, dir+"/tree/b/linked")
			leftovers(t, o.Journal, dir)
		})
	}
}

// A link or a pipe has attributes of its own, which are looked at when a new name is made of it.
func TestAttributesOfWhatIsLinked(t *testing.T) {
	for name, create := range map[string]func(path string) error{
		"link": func(path string) error { return os.Symlink("nowhere", path) },
		"pipe": func(path string) error { return syscall.Mkfifo(path, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first, second := dir+"/tree/a", dir+"/tree/b"
			require.NoError(t, os.Mkdir(dir+"/tree", 0o755))
			require.NoError(t, create(first))
			require.NoError(t, unix.Lsetxattr(first, "trusted.note", []byte("kept"), 0))
			require.NoError(t, os.Link(first, second))
			g := take(t, dir+"/tree")
			require.NoError(t, os.Remove(second))
			restoreAll(t, g, Options{Journal: t.TempDir(), InPlace: true})
			one, err := os.Lstat(first)
			require.NoError(t, err)
			other, err := os.Lstat(second)
			require.NoError(t, err)
			require.True(t, os.SameFile(one, other))
		})
	}
}

// A file that gets a new name and other metadata in one restore was changed by that itself.
func TestALinkedFileThatNeedsMetadata(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/tree/a", "good")
	require.NoError(t, os.Link(dir+"/tree/a", dir+"/tree/b"))
	require.NoError(t, os.Link(dir+"/tree/a", dir+"/tree/c"))
	g := take(t, dir+"/tree")
	want := picture(t, dir+"/tree")
	for _, cloned := range []int{0, 1} {
		require.NoError(t, os.Remove(dir+"/tree/b"))
		require.NoError(t, os.Remove(dir+"/tree/c"))
		require.NoError(t, os.Chmod(dir+"/tree/a", 0o600))
		number := inodeOf(t, dir+"/tree/a")
		restoreAll(t, g, Options{Journal: t.TempDir(), InPlace: true, cloned: cloned})
		same(t, want, picture(t, dir+"/tree"))
		require.Equal(t, number, inodeOf(t, dir+"/tree/a"))
	}
}
