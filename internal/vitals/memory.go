package vitals

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"

	"github.com/shirou/gopsutil/v3/mem"
)

// memoryUse is in bytes. Available is what programs can have without swapping, so that used is
// the rest and not what caches hold as well. Total is without huge pages: they are kept for
// programs that ask for them, and neither free nor short however much of them is in use.
type memoryUse struct {
	total, available, hugePages, swapTotal, swapFree uint64
}

// readMemory adds the share of memory in use, of the container's if it has a limit.
func (s *Sampler) readMemory(ctx context.Context, c *collector, l containerLimits) {
	m, err := s.machineMemory(ctx)
	detail, limited := "", false
	if m.hugePages > 0 {
		detail = ", beside " + bytesText(float64(m.hugePages)) + " of huge pages"
	}
	switch {
	case l.memory.err != nil:
		err = l.memory.err
	case l.memory.set && (err != nil || l.memory.value < m.total):
		m.total, detail, limited = l.memory.value, ofContainer, true
		m.available, err = s.containerAvailable(l.memory.value)
	}
	if err != nil {
		c.missing(Memory, "", err.Error())
		return
	}
	used, total := float64(m.total)-float64(m.available), float64(m.total)
	if !c.add(Reading{Resource: Memory, Percent: 100 * used / total, Detail: ofBytes(used, total) + detail}, rounding) {
		return
	}
	c.figure("shivx_host_memory_used_ratio", c.percent()/100)
	c.figure("shivx_host_memory_total_bytes", total)
	c.figure("shivx_host_memory_available_bytes", float64(m.available))
	if !limited {
		c.figure("shivx_host_swap_total_bytes", float64(m.swapTotal))
		c.figure("shivx_host_swap_free_bytes", float64(m.swapFree))
	}
}

func (s *Sampler) machineMemory(ctx context.Context) (memoryUse, error) {
	path := s.path("/proc/meminfo")
	vm, err := guard(path, func() (*mem.VirtualMemoryStat, error) { return mem.VirtualMemoryWithContext(with(ctx, s.env)) })
	if err != nil {
		return memoryUse{}, err
	}
	switch {
	case vm.Total == 0:
		// gopsutil does not say why.
		if _, err = os.ReadFile(path); err == nil {
			err = fmt.Errorf("%s: has no MemTotal", path)
		}
	case vm.Available == vm.Free+vm.Cached:
		// What gopsutil makes up when there is no such line; with a file cut short it makes a
		// host look full that is not.
		err = fmt.Errorf("%s: has no MemAvailable", path)
	case vm.Available > vm.Total:
		err = fmt.Errorf("%s: more is available than there is", path)
	}
	if err != nil {
		return memoryUse{}, err
	}
	m := memoryUse{total: vm.Total, available: vm.Available, swapTotal: vm.SwapTotal, swapFree: vm.SwapFree}
	if m.hugePages, err = read(path, parseHugePages); err != nil {
		return memoryUse{}, err
	}
	if m.hugePages >= m.total {
		return memoryUse{}, fmt.Errorf("%s: more is kept for huge pages than there is", path)
	}
	arc, err := s.reclaimableARC()
	if err != nil {
		return memoryUse{}, err
	}
	m.total -= m.hugePages
	m.available = min(m.available+arc, m.total)
	return m, nil
}

// parseHugePages reads from meminfo how many bytes are kept for huge pages: of all sizes where the
// kernel tells that (since Linux 4.16), else of the default size.
func parseHugePages(data []byte) (uint64, error) {
	lines := map[string]uint64{}
	for _, key := range []string{"Hugetlb", "HugePages_Total", "Hugepagesize"} {
		for line := range bytes.Lines(data) {
			value, ok := bytes.CutPrefix(line, []byte(key+":"))
			if !ok {
				continue
			}
			n, err := parseCount(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB")))
			if err != nil || n > math.MaxUint32<<10 { // 4 PiB in kB
				return 0, fmt.Errorf("%q is no size of huge pages", excerpt(string(line)))
			}
			lines[key] = n
		}
	}
	if kB, ok := lines["Hugetlb"]; ok {
		return kB << 10, nil
	}
	pages, kB := lines["HugePages_Total"], lines["Hugepagesize"]
	if high, low := bits.Mul64(pages, kB<<10); high == 0 {
		return low, nil
	}
	return 0, errors.New("more huge pages than there can be")
}

// reclaimableARC is the part of ZFS' cache that it gives back when memory is short. The kernel does
// not count it as available, for it is not in the page cache. Without ZFS it is 0.
func (s *Sampler) reclaimableARC() (uint64, error) {
	arc, err := read(s.path("/proc/spl/kstat/zfs/arcstats"), parseARC)
	if notThere(err) {
		return 0, nil
	}
	return arc, err
}

// parseARC reads "NAME TYPE VALUE" lines: the size of the cache less the least it keeps, in bytes.
func parseARC(data []byte) (uint64, error) {
	found := map[string]uint64{}
	for line := range bytes.Lines(data) {
		f := bytes.Fields(line)
		if len(f) != 3 || string(f[0]) != "size" && string(f[0]) != "c_min" {
			continue
		}
		n, err := parseCount(f[2])
		if err != nil {
			return 0, err
		}
		found[string(f[0])] = n
	}
	if len(found) != 2 {
		return 0, errors.New(`has no "size" and "c_min" of the cache`)
	}
	return found["size"] - min(found["size"], found["c_min"]), nil
}

// containerAvailable is the limit less what the container cannot give back: all that is charged to
// it, without the cache of files and the kernel's own, which the kernel drops before it kills. What
// is counted a little later than the charge (memory.stat) cannot make that less than the memory of
// its programs and of the kernel for them.
func (s *Sampler) containerAvailable(limit uint64) (uint64, error) {
	current, err := read(s.path(cgroupDir+"memory.current"), parseCount)
	if err != nil {
		return 0, err
	}
	stat, err := read(s.path(cgroupDir+"memory.stat"), parseMemoryStat)
	if err != nil {
		return 0, err
	}
	used := max(current-min(current, stat.reclaimable), min(current, stat.kept))
	return limit - min(limit, used), nil
}

// memoryStat is what of a container's memory the kernel can drop and what it cannot, in bytes.
type memoryStat struct{ reclaimable, kept uint64 }

// parseMemoryStat reads memory.stat (Linux, Documentation/admin-guide/cgroup-v2.rst). Memory shared
// by programs and tmpfs ("shmem") is neither active_file nor inactive_file.
func parseMemoryStat(data []byte) (memoryStat, error) {
	var m memoryStat
	for _, x := range [...]struct {
		key      string
		to       *uint64
		required bool // on every kernel that has the file
	}{
		{"inactive_file", &m.reclaimable, true},
		{"active_file", &m.reclaimable, true},
		{"slab_reclaimable", &m.reclaimable, false},
		{"anon", &m.kept, true},
		{"shmem", &m.kept, false},
		{"kernel_stack", &m.kept, false},
		{"pagetables", &m.kept, false},
		{"slab_unreclaimable", &m.kept, false},
	} {
		n, err := keyed(x.key)(data)
		switch {
		case errors.Is(err, errNoLine) && !x.required:
			continue
		case err != nil:
			return memoryStat{}, err
		case n > math.MaxInt64-*x.to:
			return memoryStat{}, fmt.Errorf("%s %d is more than there can be", x.key, n)
		}
		*x.to += n
	}
	return m, nil
}
