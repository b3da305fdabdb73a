package crash_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

// diskRoom is how large a disk is as long as it is not limited, in bytes; diskInodes in files.
const (
	diskRoom   = 512 << 20
	diskInodes = 200_000
)

// disk is a file system of its own, whose size a test changes.
type disk struct{ dir string }

func newDisk(t *testing.T, dir string) *disk {
	t.Helper()
	testenv.Tmpfs(t, dir, fmt.Sprintf("size=%d,nr_inodes=%d", diskRoom, diskInodes))
	return &disk{dir}
}

// used is how much of a disk is taken.
type used struct{ bytes, inodes int64 }

func (d *disk) used() used {
	var st unix.Statfs_t
	if unix.Statfs(d.dir, &st) != nil {
		return used{}
	}
	return used{int64(st.Blocks-st.Bfree) * st.Bsize, int64(st.Files - st.Ffree)}
}

// limit lets the disk grow by so much from what it has now; what is 0 or less is full at once. A size that
// is smaller than what is used cannot be set, so that it is tried with what is used meanwhile.
func (d *disk) limit(t *testing.T, more used) {
	t.Helper()
	var err error
	for range 1000 {
		now := d.used()
		if err = unix.Mount("", d.dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d,nr_inodes=%d", now.bytes+more.bytes, now.inodes+more.inodes)); err == nil {
			return
		}
	}
	require.NoError(t, err)
}

func (d *disk) clear(t *testing.T) {
	t.Helper()
	require.NoError(t, unix.Mount("", d.dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d,nr_inodes=%d", diskRoom, diskInodes)))
}

// peak watches a disk until done is called, and says how much more was used at the most.
func (d *disk) peak() (done func() used) {
	began, most := d.used(), used{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			now := d.used()
			most.bytes, most.inodes = max(most.bytes, now.bytes-began.bytes), max(most.inodes, now.inodes-began.inodes)
			time.Sleep(time.Millisecond)
		}
	})
	return func() used { cancel(); wg.Wait(); return most }
}
