package vitals

import (
	"context"
	"fmt"
	"os"

	"github.com/shirou/gopsutil/v3/mem"
)

// memoryUse is in bytes. Available is what programs can have without swapping, so that used is
// the rest and not what caches hold as well.
type memoryUse struct {
	total, available, swapTotal, swapFree uint64
}

// readMemory adds the share of memory in use, of the container's if it has a limit.
func (s *Sampler) readMemory(ctx context.Context, c *collector, l containerLimits) {
	m, err := s.machineMemory(ctx)
	detail := ""
	switch {
	case l.memory.err != nil:
		err = l.memory.err
	case l.memory.set && (err != nil || l.memory.value < m.total):
		m.total, detail = l.memory.value, ofContainer
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
	if detail == "" {
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
	return memoryUse{vm.Total, vm.Available, vm.SwapTotal, vm.SwapFree}, err
}

// containerAvailable is the limit less the working set: what is charged to the container, without
// the cache of files not used lately, which the kernel drops before it kills.
func (s *Sampler) containerAvailable(limit uint64) (uint64, error) {
	current, err := read(s.path(cgroupDir+"memory.current"), parseCount)
	if err != nil {
		return 0, err
	}
	inactive, err := read(s.path(cgroupDir+"memory.stat"), keyed("inactive_file"))
	if err != nil {
		return 0, err
	}
	used := current - min(current, inactive)
	return limit - min(limit, used), nil
}
