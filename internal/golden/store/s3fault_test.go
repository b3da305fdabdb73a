package store

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestS3SurvivesAFaultyNetwork(t *testing.T) {
	s := startS3(t)
	p := newFaultyProxy(t, s.addr)
	o := s.options(t, p.addr)
	o.Stall = 300 * time.Millisecond
	b := openS3(t, o)
	direct := openS3(t, s.options(t, s.addr))
	for i, what := range []fault{cut, stall, busy, deaf} {
		t.Run(fmt.Sprint([]string{"cut", "stall", "busy", "deaf"}[i]), func(t *testing.T) {
			small, large := noise(uint64(i), 300_000), noise(uint64(i)+10, 3*s3PartSize+777)
			names := []string{fmt.Sprintf("packs/%d/small.pack", i), fmt.Sprintf("packs/%d/large.pack", i), fmt.Sprintf("goldens/x/%d.golden", i)}
			bad := func(n int) (fault, int64) {
				if n%3 != 2 {
					return fine, 0
				}
				return what, 200 + int64(uint32(n+i)*2654435761)%(2*s3PartSize)
			}
			p.faults(func(n int) (fault, int64) {
				if n == 0 { // the first request fails in any case
					return what, 100
				}
				return bad(n)
			})
			require.NoError(t, publish(t.Context(), b, names[0], small))
			require.NoError(t, publish(t.Context(), b, names[1], large))
			require.NoError(t, publish(t.Context(), b, names[2], large))
			require.True(t, bytes.Equal(large, readObject(t, b, names[1])))
			require.Equal(t, names[:0:0], namesOf(t, b, "none/"))
			require.NoError(t, b.Remove(t.Context(), names[0], "packs/no"))
			p.faults(nil)
			require.True(t, bytes.Equal(large, readObject(t, direct, names[1])))
			require.True(t, bytes.Equal(large, readObject(t, direct, names[2])))
			_, err := direct.Open(t.Context(), names[0])
			require.ErrorIs(t, err, fs.ErrNotExist)
		})
	}
}

func TestS3UploadIsTakenUpWhereItBroke(t *testing.T) {
	s := startS3(t)
	p := newFaultyProxy(t, s.addr)
	o := s.options(t, p.addr)
	o.Retry = 2 * time.Second // in which some parts come through also on a busy machine
	b := openS3(t, o)
	data := noise(1, 5*s3PartSize+99)
	f, err := b.Create(t.Context())
	require.NoError(t, err)
	_, err = f.Write(data)
	require.NoError(t, err)

	// The sixth connection and all after it are cut: the uploads of some parts are through by then.
	p.faults(func(n int) (fault, int64) {
		if n < 6 {
			return fine, 0
		}
		return cut, 1000
	})
	err = f.Publish(t.Context(), "packs/a/a.pack")
	require.Error(t, err)
	require.NotEmpty(t, shivx.HintOf(err))

	p.faults(nil)
	kept := len(f.(*s3File).done)
	require.Positive(t, kept, "something was sent")
	require.NoError(t, f.Publish(t.Context(), "packs/a/a.pack"), "the same file once more")
	require.Less(t, p.up.Load(), int64(len(data)-kept*s3PartSize+s3PartSize/4), "what was sent is not sent again")
	require.True(t, bytes.Equal(data, readObject(t, b, "packs/a/a.pack")))
}

func TestS3UploadOfAKilledProcessIsTakenUp(t *testing.T) {
	s := startS3(t)
	p := newFaultyProxy(t, s.addr)
	o := s.options(t, p.addr)
	o.Retry = 2 * time.Second // in which some parts come through also on a busy machine
	data := noise(1, 4*s3PartSize)
	p.faults(nil)
	b := openS3(t, o)
	f, err := b.Create(t.Context())
	require.NoError(t, err)
	_, err = f.Write(data)
	require.NoError(t, err)
	p.faults(func(n int) (fault, int64) {
		if n < 5 {
			return fine, 0
		}
		return cut, 1000
	})
	require.Error(t, f.Publish(t.Context(), "packs/a/a.pack")) // and neither Discard nor Publish follows

	p.faults(nil)
	again := openS3(t, o)
	kept := partsOf(t, again, "packs/a/a.pack")
	require.Positive(t, kept)
	p.faults(nil)
	require.NoError(t, publish(t.Context(), again, "packs/a/a.pack", data))
	require.Less(t, p.up.Load(), int64(len(data)-kept*s3PartSize+s3PartSize/4), "what was sent is not sent again")
	require.True(t, bytes.Equal(data, readObject(t, again, "packs/a/a.pack")))

	// Where the content is another, nothing of the old is taken.
	f, err = b.Create(t.Context())
	require.NoError(t, err)
	_, err = f.Write(data)
	require.NoError(t, err)
	p.faults(func(n int) (fault, int64) {
		if n < 5 {
			return fine, 0
		}
		return cut, 1000
	})
	require.Error(t, f.Publish(t.Context(), "packs/b/b.pack"))
	p.faults(nil)
	other := noise(2, 4*s3PartSize)
	again = openS3(t, o)
	require.NoError(t, publish(t.Context(), again, "packs/b/b.pack", other))
	require.True(t, bytes.Equal(other, readObject(t, again, "packs/b/b.pack")))
}

// partsOf is how many parts the server has of an unfinished upload: how many come through before the network
// fails depends on how fast the machine is.
func partsOf(t testing.TB, b *S3, name string) int {
	t.Helper()
	uploads, err := b.listUploads(t.Context())
	require.NoError(t, err)
	require.Len(t, uploads, 1)
	require.Equal(t, name, uploads[0].name)
	list, err := b.core.ListObjectParts(t.Context(), b.opts.Bucket, b.prefix+name, uploads[0].id, 0, 1000)
	require.NoError(t, err)
	return len(list.ObjectParts)
}

func TestS3LockedAloneTakesBackUnfinishedUploads(t *testing.T) {
	s := startS3(t)
	p := newFaultyProxy(t, s.addr)
	o := s.options(t, p.addr)
	o.Retry = 300 * time.Millisecond
	b := openS3(t, o)
	f, err := b.Create(t.Context())
	require.NoError(t, err)
	_, err = f.Write(noise(1, 4*s3PartSize))
	require.NoError(t, err)
	p.faults(func(n int) (fault, int64) {
		if n < 4 {
			return fine, 0
		}
		return cut, 1000
	})
	require.Error(t, f.Publish(t.Context(), "packs/a/a.pack"))
	p.faults(nil)
	left, err := b.listUploads(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 1)
	release, err := b.Lock(t.Context(), Exclusive)
	require.NoError(t, err)
	require.NoError(t, release())
	left, err = b.listUploads(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, f.Publish(t.Context(), "packs/a/a.pack"), "a file whose upload was taken back begins anew")
}

func TestS3ServerIsKilledInTheMiddle(t *testing.T) {
	s := startS3(t)
	o := s.options(t, s.addr)
	b := openS3(t, o)
	data := noise(1, 6*s3PartSize+1)
	for i := range 4 {
		name := fmt.Sprintf("packs/%d/a.pack", i)
		done := make(chan error, 1)
		go func() { done <- publish(context.Background(), b, name, data) }()
		require.Eventually(t, func() bool { return dirSize(s.dir) > int64(i+1)*2*s3PartSize }, 20*time.Second, time.Millisecond)
		s.kill()
		s.start(t)
		require.NoError(t, <-done)
		require.True(t, bytes.Equal(data, readObject(t, b, name)))
	}
	o.Retry = 200 * time.Millisecond
	impatient := openS3(t, o)
	s.kill()
	err := publish(t.Context(), impatient, "packs/z/z.pack", data)
	require.Error(t, err)
	require.Contains(t, shivx.HintOf(err), "run the same command again")
	s.start(t)
	require.NoError(t, publish(t.Context(), impatient, "packs/z/z.pack", data))
	require.True(t, bytes.Equal(data, readObject(t, impatient, "packs/z/z.pack")))
}

// A lock that is lost while requests are tried again ends them: another host may have the store by then.
func TestS3RemovesNothingOnceTheLockIsLost(t *testing.T) {
	s := startS3(t)
	p := newFaultyProxy(t, s.addr)
	o := s.options(t, p.addr)
	o.Lock = LockOptions{Renew: 100 * time.Millisecond, Stale: 2 * time.Second}
	b := openS3(t, o)
	require.NoError(t, publish(t.Context(), b, "packs/a/a.pack", []byte("a")))
	release, err := b.Lock(t.Context(), Exclusive)
	require.NoError(t, err)
	p.faults(func(int) (fault, int64) { return cut, 0 })
	done := make(chan error, 1)
	go func() { done <- b.Remove(t.Context(), "packs/a/a.pack") }()
	err = <-done // before the network is back
	require.ErrorIs(t, err, ErrLockLost)
	p.faults(nil)
	require.ErrorIs(t, release(), ErrLockLost)
	_, err = b.Open(t.Context(), "packs/a/a.pack")
	require.NoError(t, err, "it is still there")
}

// A bucket that cannot be written is read and verified all the same.
func TestS3ThatCannotBeWrittenIsRead(t *testing.T) {
	s := startS3(t)
	b := openS3(t, s.options(t, s.addr))
	st := newLab(t, b)
	st.backup(t, "etc", fileSet(1, 3, 1000))
	s.kill()
	s.args = append(s.args, "--readonly")
	s.start(t)
	b = openS3(t, s.options(t, s.addr))
	again, err := Open(t.Context(), b, st.options)
	require.NoError(t, err)
	defer again.Close()
	release, err := again.Lock(t.Context(), Shared)
	require.NoError(t, err)
	require.Equal(t, 1, requireAllGood(t, again))
	require.NoError(t, release())
	require.Empty(t, scrubbed(t, again, ScrubOptions{}).Problems)
	_, err = again.Prune(t.Context(), PruneOptions{})
	require.Error(t, err)
	require.Contains(t, shivx.HintOf(err), "lock of their own")
}

func dirSize(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files come and go
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

func TestS3FullTemporaryFolder(t *testing.T) {
	s := startS3(t)
	o := s.options(t, s.addr)
	o.TempDir = filepath.Join(t.TempDir(), "gone")
	require.NoError(t, os.Mkdir(o.TempDir, 0o700))
	b := openS3(t, o)
	require.NoError(t, os.Remove(o.TempDir))
	_, err := b.Create(t.Context())
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Contains(t, shivx.HintOf(err), o.TempDir)
}

func TestS3CallsEndWithTheirContext(t *testing.T) {
	s := startS3(t)
	p := newFaultyProxy(t, s.addr)
	o := s.options(t, p.addr)
	o.Stall = time.Minute
	b := openS3(t, o)
	p.faults(func(int) (fault, int64) { return stall, 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	require.ErrorIs(t, publish(ctx, b, "packs/a/a.pack", []byte("a")), context.DeadlineExceeded)
	_, err := b.Open(ctx, "packs/a/a.pack")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begun), 10*time.Second)
}
