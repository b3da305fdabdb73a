package vitals

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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

// diskLines are the readings of disk and inodes alone.
func diskLines(root string, s Sample) []string {
	var out []string
	for _, l := range lines(root, s) {
		if strings.HasPrefix(l, "disk") || strings.HasPrefix(l, "inodes") {
			out = append(out, l)
		}
	}
	return out
}

func TestMountsAreChosenByPatterns(t *testing.T) {
	const used = " 42.11 % (40.0 of 95.0 GiB)"
	for name, x := range map[string]struct {
		mounts, exclude, want []string
	}{
		"exclude of the defaults": {
			exclude: []string{"/var", "/srv/**", "/boot/*"},
			want:    []string{"disk[/]" + used, "inodes[/] 10.00 % (100 of 1000)"},
		},
		"tmpfs, network and parts of a device, once named": {
			mounts: []string{"/run", "/srv/*", "/mnt/nfs/"}, exclude: []string{"**/app*"},
			want: []string{"disk[/mnt/nfs]" + used, "inodes[/mnt/nfs] 10.00 % (100 of 1000)", "disk[/run]" + used, "inodes[/run] 10.00 % (100 of 1000)",
				"disk[/srv/data]" + used, "disk[/srv/logs]" + used},
		},
		"a path with a space": {
			mounts: []string{"/srv/app*"},
			want:   []string{"disk[/srv/app one]" + used, "inodes[/srv/app one] 10.00 % (100 of 1000)"},
		},
		"not mounted": {
			mounts: []string{"/data", "/nothing/*", "/boot/efi", "/excluded"}, exclude: []string{"/excluded"},
			want: []string{"disk[/boot/efi]" + used, "disk[/data] missing: not mounted"},
		},
		"without a size, by its name":  {mounts: []string{"/proc"}, want: []string{"disk[/proc] missing: the file system has no size"}},
		"without a size, by a pattern": {mounts: []string{"/pr*"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "base")
			o := h.options()
			o.Mounts, o.ExcludeMounts = x.mounts, x.exclude
			assert.Equal(t, x.want, diskLines(h.root, NewSampler(o).Sample(context.Background())))
		})
	}
}

// TestVanishedMountIsNamedForAnHour, comes back, and is then forgotten unless it is configured.
func TestVanishedMountIsNamedForAnHour(t *testing.T) {
	for _, named := range []bool{false, true} {
		h := newHost(t, "mount_gone")
		o := h.options()
		if named {
			o.Mounts = []string{"/var"}
		}
		s := NewSampler(o)
		missing := func() string {
			for _, r := range s.Sample(context.Background()).Readings {
				if r.Resource == Disk && r.Subject == "/var" {
					return r.Missing
				}
			}
			return "no reading"
		}
		assert.Empty(t, missing())
		h.show(2)
		h.pass(time.Minute)
		assert.Equal(t, "no longer mounted", missing())
		h.pass(58 * time.Minute)
		assert.Equal(t, "no longer mounted", missing())
		h.show(3)
		assert.Empty(t, missing(), "it is back")
		h.show(2)
		h.pass(time.Hour)
		if named {
			assert.Equal(t, "not mounted", missing())
			assert.Equal(t, "not mounted", missing())
		} else {
			assert.Equal(t, "no reading", missing())
		}
	}
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
	assert.Equal(t, "the file system has not answered for 4m15s", find(t, sample(), Disk, "/var").Missing)
	assert.EqualValues(t, 2, calls.Load(), "it was asked again while the earlier call hangs")

	close(release)
	<-ended
	require.Eventually(t, func() bool {
		return find(t, s.Sample(context.Background()), Disk, "/var").Missing == ""
	}, 10*time.Second, time.Millisecond)
}

func TestFileSystemThatFails(t *testing.T) {
	h := newHost(t, "base")
	o := h.options()
	answers := map[string]*disk.UsageStat{
		"/":         {Total: 10, Used: 20, Free: 5},
		"/var":      {Total: 10, Used: 5, Free: 5, InodesTotal: 5, InodesFree: 10},
		"/boot/efi": {Total: 10},
	}
	o.usage = func(_ context.Context, _ string, m mount) (*disk.UsageStat, error) {
		if u := answers[m.point]; u != nil {
			return u, nil
		}
		return nil, errors.New("statfs: input/output error")
	}
	assert.Equal(t, []string{
		"disk[/] missing: the file system tells of more space than it has",
		"disk[/boot/efi] missing: not a number",
		"disk[/srv/data] missing: statfs: input/output error",
		"disk[/var] 50.00 % (5.0 of 10.0 bytes)",
		"inodes[/var] missing: -100.0 % is less than nothing",
	}, diskLines(h.root, NewSampler(o).Sample(context.Background())))
}

func TestCancelledSampleDoesNotWait(t *testing.T) {
	h := newHost(t, "base")
	o := h.options()
	o.Timeout = time.Hour
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(context.Background())
	o.usage = func(ctx context.Context, path string, m mount) (*disk.UsageStat, error) {
		cancel()
		<-release
		return fakeUsage(ctx, path, m)
	}
	r := find(t, NewSampler(o).Sample(ctx), Disk, "/")
	assert.Equal(t, "ask the file system: context canceled", r.Missing)
}

// TestRealTmpfs fills a real file system, takes it away, and looks through a root.
func TestRealTmpfs(t *testing.T) {
	point := mountTmpfs(t, "size=8m,nr_inodes=100")
	s := NewSampler(Options{Mounts: []string{point}})
	sample := func() Sample { return s.Sample(context.Background()) }
	assert.InDelta(t, 0, find(t, sample(), Disk, point).Percent, 1)

	file := filepath.Join(point, "half")
	testenv.WriteFile(t, file, strings.Repeat("x", 4<<20))
	half := sample()
	assert.InDelta(t, 50, find(t, half, Disk, point).Percent, 1)
	assert.InDelta(t, 2, find(t, half, Inodes, point).Percent, 1.01)

	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, f.Close())
	full := sample()
	assert.InDelta(t, 100, find(t, full, Disk, point).Percent, 0.01)

	require.NoError(t, unix.Unmount(point, 0))
	assert.Equal(t, "no longer mounted", find(t, sample(), Disk, point).Missing)
	assert.DirExists(t, point, "the folder below is still there, and is not what is measured")
}

// TestAnotherFileSystemIsNotTakenForTheMount: a mount of the host that is not seen below the
// root would tell the figures of the file system around it.
func TestAnotherFileSystemIsNotTakenForTheMount(t *testing.T) {
	dir := t.TempDir()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(dir, &st))
	m := mount{major: unix.Major(st.Dev), minor: unix.Minor(st.Dev), point: dir}
	_, err := readUsage(context.Background(), dir, m)
	require.NoError(t, err)
	m.major += 7
	_, err = readUsage(context.Background(), dir, m)
	require.EqualError(t, err, "another file system is seen at "+dir)
	_, err = readUsage(context.Background(), dir+"/absent", m)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// mountTmpfs mounts one for the test.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root to mount a tmpfs")
	}
	point := t.TempDir()
	if err := unix.Mount("tmpfs", point, "tmpfs", 0, options); err != nil {
		testenv.Missing(t, "needs to mount a tmpfs: "+err.Error())
	}
	t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
	return point
}
