package vitals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v3/disk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

// TestTurnedReadOnly follows one mount: nothing can be written to it is as bad as full, for as long
// as it lasts, unless it has been read-only from the start.
func TestTurnedReadOnly(t *testing.T) {
	bad := Reading{Resource: Disk, Subject: "/var", Percent: 100, Detail: "mounted read-only: nothing can be written"}
	for _, mounts := range [][]string{nil, {"/var"}} {
		h := newHost(t, "mount_read_only")
		o := h.options()
		o.Mounts = mounts
		s := NewSampler(o)
		sample := func(step int, after time.Duration) Sample {
			h.show(step)
			h.pass(after)
			return s.Sample(context.Background())
		}
		assert.Less(t, find(t, sample(1, 0), Disk, "/var").Percent, 95.0)
		for range 3 {
			got := sample(2, 2*time.Hour)
			assert.Equal(t, bad, find(t, got, Disk, "/var"))
			assert.InDelta(t, 10, find(t, got, Inodes, "/var").Percent, 0, "they can still be counted")
			assert.Contains(t, got.Figures, Figure{"shivx_host_filesystem_used_ratio", "mountpoint", "/var", 1})
			assert.Contains(t, got.Figures, Figure{"shivx_host_filesystem_free_bytes", "mountpoint", "/var", 5 << 30})
		}
		assert.Less(t, find(t, sample(3, 0), Disk, "/var").Percent, 95.0, "writable again")

		h.show(2)
		fromTheStart := diskLines(h.root, NewSampler(o).Sample(context.Background()))
		assert.Equal(t, mounts != nil, slices.Contains(fromTheStart, "disk[/var] 94.74 % (90.0 of 95.0 GiB)"), fromTheStart)
		assert.NotContains(t, strings.Join(fromTheStart, "\n"), "nothing can be written")
	}
}

// TestStoppedByTheKernel: that nobody asked for a read-only file system is seen by an agent that
// starts after it happened as well.
func TestStoppedByTheKernel(t *testing.T) {
	for _, line := range []string{
		"30 21 8:2 / /var rw,relatime shared:10 - ext4 /dev/sda2 ro,errors=remount-ro",
		"30 21 8:2 / /var rw,relatime shared:10 - ext4 /dev/sda2 rw,errors=remount-ro,emergency_ro",
		"30 21 8:2 / /var rw,relatime shared:10 - ext4 /dev/sda2 rw,shutdown",
	} {
		h := newHost(t, "base")
		h.trees[0]["proc/1/mountinfo"] = line + "\n31 21 0:51 / /mnt/nfs rw - nfs4 10.0.0.1:/export ro\n"
		h.show(1)
		assert.Equal(t, []string{"disk[/var] 100.00 % (mounted read-only: nothing can be written)", "inodes[/var] 10.00 % (100 of 1000)"},
			diskLines(h.root, NewSampler(h.options()).Sample(context.Background())))
	}
}

// TestAnotherFileSystemInItsPlace does not end the story of the one before.
func TestAnotherFileSystemInItsPlace(t *testing.T) {
	h := newHost(t, "base")
	h.trees[1]["proc/1/mountinfo"] += "50 30 0:70 / /var rw - tmpfs tmpfs rw\n"
	s := NewSampler(h.options())
	s.Sample(context.Background())
	h.show(2)
	assert.Equal(t, "another file system is mounted there", find(t, s.Sample(context.Background()), Disk, "/var").Missing)
}

// TestHungFileSystemIsAskedOnce: one call hangs, the others are answered, and only when it has
// ended is the file system asked again.
func TestHungFileSystemIsAskedOnce(t *testing.T) {
	h := newHost(t, "base")
	o := h.options()
	o.Timeout = 20 * time.Millisecond
	var calls atomic.Int32
	release, ended := make(chan struct{}), make(chan struct{})
	o.usage = func(ctx context.Context, path string, m mount) (*disk.UsageStat, error) {
		if m.point == "/var" && calls.Add(1) == 2 {
			<-release
			defer close(ended)
		}
		return fakeUsage(ctx, path, m)
	}
	s := NewSampler(o)
	sample := func() Sample { defer h.pass(5 * time.Second); return s.Sample(context.Background()) }
	require.Empty(t, find(t, sample(), Disk, "/var").Missing)

	second := sample()
	assert.Equal(t, "the file system did not answer within 20ms", find(t, second, Disk, "/var").Missing)
	assert.NotEmpty(t, find(t, second, Inodes, "/var").Missing)
	assert.Empty(t, find(t, second, Disk, "/").Missing)
	for range 50 {
		sample()
	}
	hung := sample()
	assert.Equal(t, Reading{Resource: Disk, Subject: "/var", Percent: 100, Detail: "does not answer"}, find(t, hung, Disk, "/var"))
	assert.Equal(t, "the file system has not answered for 4m15s", find(t, hung, Inodes, "/var").Missing)
	assert.EqualValues(t, 2, calls.Load(), "it was asked again while the earlier call hangs")

	close(release)
	<-ended
	require.Eventually(t, func() bool {
		return find(t, s.Sample(context.Background()), Disk, "/var").Percent < 100
	}, 10*time.Second, time.Millisecond)
}

func TestFileSystemThatFails(t *testing.T) {
	h := newHost(t, "base")
	o := h.options()
	answers := map[string]*disk.UsageStat{
		"/":         {Total: 10, Used: 20, Free: 5},
		"/var":      {Total: 10, Used: 5, Free: 5, InodesTotal: 5, InodesFree: 10},
		"/media/cd": {Total: 10},
	}
	o.Mounts = []string{"/", "/var", "/srv/data", "/media/cd"}
	failed := errors.New("statfs: no such device")
	o.usage = func(_ context.Context, _ string, m mount) (*disk.UsageStat, error) {
		if u := answers[m.point]; u != nil {
			return u, nil
		}
		return nil, failed
	}
	s := NewSampler(o)
	assert.Equal(t, []string{
		"disk[/] missing: the file system tells of more space than it has",
		"disk[/media/cd] missing: not a number",
		"disk[/srv/data] missing: statfs: no such device",
		"disk[/var] 50.00 % (5.0 of 10.0 bytes)",
		"inodes[/var] missing: -100.0 % is less than nothing",
	}, diskLines(h.root, s.Sample(context.Background())))

	failed = fmt.Errorf("statfs: %w", unix.EIO)
	data := func() Reading { return find(t, s.Sample(context.Background()), Disk, "/srv/data") }
	assert.Equal(t, "statfs: input/output error", data().Missing, "once is chance")
	assert.Equal(t, Reading{Resource: Disk, Subject: "/srv/data", Percent: 100, Detail: "input/output error"}, data())
	answers["/srv/data"] = &disk.UsageStat{Total: 10, Used: 5, Free: 5}
	assert.InDelta(t, 50, data().Percent, 0)
	delete(answers, "/srv/data")
	assert.NotEmpty(t, data().Missing, "it is counted anew")
}

// TestRealFailedDisk breaks a real ext4: the kernel stops it as after damage.
func TestRealFailedDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root to mount a file system")
	}
	tools := testenv.Need(t, "mkfs.ext4", "mount", "umount")
	run := func(program string, args ...string) error {
		out, err := exec.Command(program, args...).CombinedOutput()
		t.Logf("%s %s: %s", program, args, out)
		return err
	}
	point, image := t.TempDir(), filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 16<<20))
	require.NoError(t, run(tools[0], "-q", image))
	if err := run(tools[1], "-o", "loop,errors=remount-ro", image, point); err != nil {
		testenv.Missing(t, "needs loop devices")
	}
	t.Cleanup(func() { _ = run(tools[2], point) })
	s := NewSampler(Options{Mounts: []string{point}})
	disk := func(s *Sampler) Reading { return find(t, s.Sample(context.Background()), Disk, point) }
	assert.Less(t, disk(s).Percent, 50.0)

	require.NoError(t, run(tools[1], "-o", "remount,abort", point))
	require.Error(t, os.WriteFile(filepath.Join(point, "x"), []byte("x"), 0o600))
	want := Reading{Resource: Disk, Subject: point, Percent: 100, Detail: "mounted read-only: nothing can be written"}
	assert.Equal(t, want, disk(s))
	assert.Equal(t, want, disk(NewSampler(Options{Mounts: []string{point}})), "an agent that starts now sees it too")
}
