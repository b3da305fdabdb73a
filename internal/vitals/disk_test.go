package vitals

import (
	"context"
	"os"
	"path/filepath"
	"strings"
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

// TestRemovableMediaAreLeftOut unless they are chosen: a stick whose disk says so, at any place.
func TestRemovableMediaAreLeftOut(t *testing.T) {
	h := newHost(t, "base")
	h.trees[0]["proc/1/mountinfo"] = `21 1 8:1 / / rw - ext4 /dev/sda1 rw
30 21 8:2 / /var rw - ext4 /dev/sda2 rw
31 21 8:17 / /srv/stick rw - ext4 /dev/sdb1 rw
32 21 8:32 / /srv/card rw - ext4 /dev/sdc rw
33 21 8:48 / /media/usb rw - ext4 /dev/sdd rw
34 21 8:64 / /run/media/joe/usb rw - ext4 /dev/sde rw
35 21 8:80 / /boot rw - ext4 /dev/sdf rw
36 21 8:96 / /boot/efi rw - vfat /dev/sdg rw
37 21 8:112 / /efi rw - vfat /dev/sdh rw
38 21 8:128 / /bootstrap rw - ext4 /dev/sdi rw
`
	for disk, n := range map[string]string{"sda": "0", "sdb": "1", "sdc": "1"} {
		h.trees[0]["sys/devices/"+disk+"/removable"] = n + "\n"
	}
	h.trees[0]["sys/devices/sda/sda2/partition"] = "2\n"
	h.trees[0]["sys/devices/sdb/sdb1/partition"] = "1\n"
	h.trees[0]["sys/dev/block/"] = ""
	h.show(1)
	for number, device := range map[string]string{"8:2": "sda/sda2", "8:17": "sdb/sdb1", "8:32": "sdc"} {
		require.NoError(t, os.Symlink("../../devices/"+device, filepath.Join(h.root, "sys/dev/block", number)))
	}
	watched := func(mounts ...string) (points []string) {
		o := h.options()
		o.Mounts = mounts
		for _, r := range NewSampler(o).Sample(context.Background()).Readings {
			if r.Resource == Disk {
				points = append(points, r.Subject)
			}
		}
		return points
	}
	assert.Equal(t, []string{"/", "/bootstrap", "/var"}, watched())
	assert.Equal(t, []string{"/boot", "/boot/efi", "/media/usb", "/srv/stick"}, watched("/boot{,/**}", "/media/*", "/srv/stick"))
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
	point := t.TempDir()
	testenv.Tmpfs(t, point, "size=8m,nr_inodes=100")
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

	require.NoError(t, unix.Mount("", point, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	assert.Equal(t, "mounted read-only: nothing can be written", find(t, sample(), Disk, point).Detail)
	require.NoError(t, unix.Mount("", point, "", unix.MS_REMOUNT, ""))
	assert.NotContains(t, find(t, sample(), Disk, point).Detail, "read-only")

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
