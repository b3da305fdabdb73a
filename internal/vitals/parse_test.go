package vitals

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseCPUMax(t *testing.T) {
	for text, want := range map[string]float64{
		"max 100000\n": math.Inf(1), "max": math.Inf(1), "50000 100000\n": 0.5, "250000 100000": 2.5, "100000": 1,
	} {
		got, err := parseCPUMax([]byte(text))
		require.NoError(t, err, text)
		assert.True(t, got == want, "%q gives %v cores", text, got) //nolint:testifylint // +Inf has no distance
	}
	for _, text := range []string{"", "0 100000", "100000 0", "-1 100000", "1 2 3", "1.5 100000", "maximum"} {
		_, err := parseCPUMax([]byte(text))
		assert.Error(t, err, text)
	}
}

func TestParseCPUList(t *testing.T) {
	for text, want := range map[string]int{"0\n": 1, "0-3\n": 4, "0-3,8,10-11": 7, "63": 1} {
		got, err := parseCPUList([]byte(text))
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "3-0", "a", "1,,2", "-1", "99999"} {
		_, err := parseCPUList([]byte(text))
		assert.Error(t, err, text)
	}
}

func TestParsePressureOfOldKernels(t *testing.T) {
	got, err := parsePressure([]byte("some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n"))
	require.NoError(t, err)
	assert.Equal(t, pressure{some: 1.5, hasSome: true}, got)
}

func TestParseMountUnescapes(t *testing.T) {
	m, ok := parseMount(`36 35 98:1 /a\134b /with\040space\011tab rw,nosuid - fuse.x /dev/x ro,x`)
	require.True(t, ok)
	assert.Equal(t, mount{major: 98, minor: 1, root: `/a\b`, point: "/with space\ttab", fstype: "fuse.x", ro: true, mountRW: true}, m)
	assert.Equal(t, `end\04`, unescape(`end\04`))
	assert.Equal(t, `\999`, unescape(`\999`))
}

func TestKeyedFindsTheWholeKey(t *testing.T) {
	data := []byte("inactive_filex 1\ninactive_file 2\n")
	got, err := keyed("inactive_file")(data)
	require.NoError(t, err)
	assert.EqualValues(t, 2, got)
	_, err = keyed("file")(data)
	assert.EqualError(t, err, `has no line "file"`)
}

func FuzzParseMounts(f *testing.F) {
	f.Add("36 35 98:0 / /mnt rw - ext4 /dev/sda rw\n")
	f.Add("36 35 98:0 /a\\040b /\\1 ro master:1 - x\n")
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := parseMounts([]byte(text))
		if (err == nil) != (len(mounts) > 0) {
			t.Fatalf("%d mounts with error %v", len(mounts), err)
		}
		for _, m := range mounts {
			if !strings.HasPrefix(m.point, "/") || m.fstype == "" {
				t.Errorf("mount %+v", m)
			}
		}
	})
}

func FuzzParsePressure(f *testing.F) {
	f.Add("some avg10=1.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=1\n")
	f.Add("some avg10=NaN")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePressure([]byte(text))
		if err == nil && !(p.hasSome && p.some >= 0 && p.some <= 101 && p.full >= 0 && p.full <= 101) {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzParseLoadAverage(f *testing.F) {
	f.Add("0.05 0.17 0.63 2/95 4552\n")
	f.Add("nan inf -1 /0")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLoadAverage([]byte(text))
		if err == nil && !(l.one >= 0 && l.one <= maxLoad && l.five >= 0 && l.fifteen >= 0 && l.threads > 0) {
			t.Errorf("%+v", l)
		}
	})
}

func FuzzParseFileNr(f *testing.F) {
	f.Add("681\t0\t2466170\n")
	f.Add("1 2 9223372036854775807")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseFileNr([]byte(text))
		if err == nil && n.most == 0 {
			t.Errorf("%+v", n)
		}
	})
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("max 100000")
	f.Add("50000 100000")
	f.Add("0-3,7")
	f.Add("usage_usec 12\n")
	f.Fuzz(func(t *testing.T, text string) {
		data := []byte(text)
		if n, err := parseCPUMax(data); err == nil && !(n > 0) {
			t.Errorf("quota of %v cores", n)
		}
		if n, err := parseCPUList(data); err == nil && n <= 0 {
			t.Errorf("%d processors", n)
		}
		if n, err := parseLimit(data); err == nil && n == unlimited && !strings.Contains(text, "max") && !strings.Contains(text, "18446744073709551615") {
			t.Errorf("%q is no limit", text)
		}
		_, _ = keyed("usage_usec")(data)
	})
}

// FuzzSample puts anything in place of one file, also of those that gopsutil reads.
func FuzzSample(f *testing.F) {
	paths := []string{
		"proc/stat", "proc/meminfo", "proc/loadavg", "proc/net/dev", "proc/net/snmp", "proc/1/mountinfo",
		"proc/sys/fs/file-nr", "proc/sys/kernel/pid_max", "proc/pressure/io", "sys/devices/system/cpu/online",
		"sys/fs/cgroup/cpu.max", "sys/fs/cgroup/cpu.stat", "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.stat", "sys/fs/cgroup/pids.current",
		"proc/spl/kstat/zfs/arcstats",
	}
	h := newHost(f, "container")
	for i, p := range paths {
		f.Add(uint8(i), h.trees[1][p])
	}
	f.Add(uint8(0), "cpu nan 0 0 inf 0 0 0 0")
	f.Add(uint8(1), "MemTotal: 0 kB\n")
	f.Add(uint8(3), "\n")
	f.Add(uint8(4), "Tcp:")
	f.Add(uint8(15), "size 4 18446744073709551615\nc_min 4 1\n")
	f.Add(uint8(13), "anon 1\ninactive_file 9223372036854775807\nactive_file 9223372036854775807\n")
	f.Fuzz(func(t *testing.T, which uint8, content string) {
		h := newHost(t, "container")
		s := NewSampler(h.options())
		s.Sample(context.Background())
		h.trees[1][paths[int(which)%len(paths)]] = content
		h.show(2)
		h.pass(10 * time.Second)
		for _, r := range s.Sample(context.Background()).Readings {
			if !(r.Percent >= 0 && (r.Percent <= 100 || r.Resource == Load && r.Percent < 1e9)) {
				t.Errorf("%+v", r)
			}
		}
	})
}
