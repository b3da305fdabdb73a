package ingest

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

func fifo(t *testing.T, dir string) string {
	path := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	return path
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	require.NoError(t, os.Rename(from, to))
}

// copytruncate is what logrotate does by that name.
func copytruncate(t testing.TB, path, to string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
	require.NoError(t, os.Truncate(path, 0))
}

func pack(t testing.TB, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := os.Create(path + ".gz")
	require.NoError(t, err)
	z := gzip.NewWriter(f)
	_, err = z.Write(data)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	require.NoError(t, os.Remove(path))
}

// rotations are what happens to a log between "one" and "last"; each writes what it says it does. The
// same must be read whether the follower runs meanwhile or is started after it.
var rotations = []struct {
	name  string
	do    func(t *testing.T, path string)
	lines []string
	// lost is told when the follower did not run meanwhile.
	lost bool
}{
	{"renamed", func(t *testing.T, path string) {
		rename(t, path, path+".1")
		write(t, path+".1", "two\n") // the writer has not noticed yet
		write(t, path, "three\n")
	}, []string{"two", "three"}, false},
	{"renamed twice", func(t *testing.T, path string) {
		write(t, path, "two\n")
		rename(t, path, path+".1")
		write(t, path, "three\n")
		rename(t, path+".1", path+".2")
		rename(t, path, path+".1")
		write(t, path, "four\n")
	}, []string{"two", "three", "four"}, false},
	{"renamed by date, among older ones", func(t *testing.T, path string) {
		write(t, path+"-20260129", "long ago\n")
		write(t, path, "two\n")
		rename(t, path, path+"-20260130")
		write(t, path, "three\n")
		rename(t, path, path+"-20260131")
		write(t, path, "four\n")
	}, []string{"two", "three", "four"}, false},
	{"renamed in the middle of the name", func(t *testing.T, path string) {
		dir := filepath.Dir(path)
		rename(t, path, filepath.Join(dir, "auth-2026-01-30.log"))
		write(t, path, "two\n")
		rename(t, path, filepath.Join(dir, "auth-2026-01-31.log"))
		write(t, filepath.Join(dir, "auth-other.log"), "another log\n")
		write(t, filepath.Join(dir, "authpriv.log"), "another log\n")
		write(t, path, "three\n")
	}, []string{"two", "three"}, false},
	{"copied and truncated", func(t *testing.T, path string) {
		write(t, path, "two\n")
		copytruncate(t, path, path+".1")
		write(t, path, "3\n")
	}, []string{"two", "3"}, false},
	{"copied, truncated and longer than before", func(t *testing.T, path string) {
		write(t, path, "two\n")
		copytruncate(t, path, path+".1")
		write(t, path, "three, which is much longer than what stood there before\n")
	}, []string{"two", "three, which is much longer than what stood there before"}, false},
	{"copied and truncated twice", func(t *testing.T, path string) {
		write(t, path, "two\n")
		copytruncate(t, path, path+".1")
		write(t, path, "three\n")
		rename(t, path+".1", path+".2")
		copytruncate(t, path, path+".1")
		write(t, path, "four\n")
	}, []string{"two", "three", "four"}, false},
	{"renamed, then copied and truncated", func(t *testing.T, path string) {
		write(t, path, "two\n")
		rename(t, path, path+".1")
		write(t, path, "three\n")
		rename(t, path+".1", path+".2")
		copytruncate(t, path, path+".1")
		write(t, path, "four\n")
	}, []string{"two", "three", "four"}, false},
	{"renamed to a name without order", func(t *testing.T, path string) {
		write(t, path, "two\n")
		rename(t, path, path+".old")
		write(t, path, "three\n")
	}, []string{"two", "three"}, false},
	{"renamed and back", func(t *testing.T, path string) {
		rename(t, path, path+".1")
		write(t, path+".1", "two\n")
		rename(t, path+".1", path)
		write(t, path, "three\n")
	}, []string{"two", "three"}, false},
	{"made anew", func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		write(t, path, "two\n")
	}, []string{"two"}, true},
	{"truncated", func(t *testing.T, path string) {
		require.NoError(t, os.Truncate(path, 0))
		write(t, path, "two, which is longer than what stood there before\n")
	}, []string{"two, which is longer than what stood there before"}, true},
	{"compressed", func(t *testing.T, path string) {
		rename(t, path, path+".1")
		pack(t, path+".1")
		write(t, path, "two\n")
	}, []string{"two"}, false},
}

func TestRotationWhileReading(t *testing.T) {
	for _, c := range rotations {
		t.Run(c.name, func(t *testing.T) {
			path := logFile(t)
			write(t, path, "one is here\n")
			r := newReader(t, config.Log{File: path, FromStart: true}).start()
			r.sees("one is here")
			c.do(t, path)
			write(t, path, "last\n")
			r.sees(append(append([]string{"one is here"}, c.lines...), "last")...)
			require.Empty(t, r.troubles)
		})
	}
}

func TestRotationWhileAway(t *testing.T) {
	for _, c := range rotations {
		t.Run(c.name, func(t *testing.T) {
			path := logFile(t)
			write(t, path, "one is here\n")
			r := newReader(t, config.Log{File: path, FromStart: true}).start()
			r.sees("one is here")
			r.stop()
			c.do(t, path)
			write(t, path, "last\n")
			r.start().sees(append(append([]string{"one is here"}, c.lines...), "last")...)
			if !c.lost {
				require.Empty(t, r.troubles)
				return
			}
			require.NotContains(t, r.told(TroubleLost).details, "bytes", "nobody knows how many")
		})
	}
}

// What a compressed file had more than was read is known.
func TestLostInCompressedFile(t *testing.T) {
	path := logFile(t)
	write(t, path, "one is here\n")
	r := newReader(t, config.Log{File: path, FromStart: true}).start()
	r.sees("one is here")
	r.stop()
	write(t, path, "two\n")
	rename(t, path, path+".2")
	pack(t, path+".2")
	write(t, path+".1", "all of this\n")
	pack(t, path+".1")
	write(t, path, "three\n")
	r.start().sees("one is here", "three")
	require.Len(t, r.troubles, 2)
	require.EqualValues(t, 4, r.troubles[0].details["bytes"])
	require.EqualValues(t, 12, r.troubles[1].details["bytes"])
}

// The inode of a file that is gone is given to the next one.
func TestReusedInode(t *testing.T) {
	path := logFile(t)
	write(t, path, "one is here\n")
	r := newReader(t, config.Log{File: path, FromStart: true}).start()
	r.sees("one is here")
	r.stop()
	rename(t, path, path+".1")
	write(t, path+".1", "two\n")
	write(t, path, "another one\n")
	info, err := os.Stat(path)
	require.NoError(t, err)
	r.at.Inode = identify(info).inode
	r.start().sees("one is here", "two", "another one")
	require.Empty(t, r.troubles)
}

func TestLinkIsSwitched(t *testing.T) {
	path := logFile(t)
	other := t.TempDir()
	a, b := filepath.Join(other, "a.log"), filepath.Join(other, "b.log")
	write(t, a, "a1\n")
	require.NoError(t, os.Symlink(a, path))
	r := newReader(t, config.Log{File: path, FromStart: true}).start()
	r.sees("a1")
	write(t, b, "b1\n")
	require.NoError(t, os.Symlink(b, path+".new"))
	rename(t, path+".new", path)
	r.sees("a1", "b1")
	write(t, a, "a2\n")
	r.sees("a1", "b1", "a2")
	r.stop()
	write(t, a, "a3\n")
	write(t, b, "b2\n")
	r.start().sees("a1", "b1", "a2", "a3", "b2")
	// What the link leads to is rotated where it stands.
	rename(t, b, b+".1")
	write(t, b, "b3\n")
	r.sees("a1", "b1", "a2", "a3", "b2", "b3")
	require.Empty(t, r.troubles)
}

// A rotated file is let go when nobody has written to it for a while; a line without an end is left out.
func TestRotatedFileIsLetGo(t *testing.T) {
	path := logFile(t)
	write(t, path, "one\n")
	r := newReader(t, config.Log{File: path, FromStart: true}).start()
	r.sees("one")
	r.stop()
	in, err := New(r.o)
	require.NoError(t, err)
	f, ok := in.sources[0].(*follower)
	require.True(t, ok)
	f.at, f.drain = r.at, 0
	f.resume()
	write(t, path, "broken o")
	rename(t, path, path+".1")
	ctx := t.Context()
	f.round(ctx)
	require.Len(t, f.files, 1, "there is no other file yet")
	write(t, path)
	f.round(ctx)
	require.Len(t, f.files, 2, "the new one is empty")
	write(t, path, "two\n")
	f.round(ctx)
	require.Len(t, f.files, 1)
	require.Nil(t, r.at.Older)
	r.sees("one", "two")
	require.Equal(t, uint64(1), in.Status()[0].Cut)
	require.NoError(t, in.watch.close())
}

// A packed file whose name has become that of a pipe since it was listed holds up nobody.
func TestPackedFileBecomesAPipe(t *testing.T) {
	path := logFile(t) + ".1.gz"
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	told := make(chan error, 1)
	go func() {
		_, _, err := unpacked(path)
		told <- err
	}()
	select {
	case err := <-told:
		require.ErrorContains(t, err, "named pipe")
	case <-time.After(5 * time.Second):
		require.Fail(t, "it waits for a writer")
	}
}
