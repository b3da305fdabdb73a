package vitals

import (
	"errors"
	"io/fs"
	"math"
)

// cgroupDir is where cgroup v2 is mounted, unless the host still has v1.
const cgroupDir = "/sys/fs/cgroup/"

const ofContainer = ", limit of the container"

// containerLimits are the limits at the root of the cgroup namespace.
type containerLimits struct {
	container bool
	cpu       limit[float64] // cores
	memory    limit[uint64]  // bytes
	pids      limit[uint64]
}

// limit is one of them. One that is not set, or as high as can be, leaves the machine's in force.
type limit[T float64 | uint64] struct {
	value T
	set   bool
	err   error
}

// limits reads the files of the cgroup's root. Without any of them this is no container.
func (s *Sampler) limits() containerLimits {
	dir := s.path(cgroupDir)
	cpuMax, errCPU := read(dir+"cpu.max", parseCPUMax)
	memMax, errMem := read(dir+"memory.max", parseLimit)
	pidMax, errPids := read(dir+"pids.max", parseLimit)
	there := func(err error) bool { return !errors.Is(err, fs.ErrNotExist) }
	if !there(errCPU) && !there(errMem) && !there(errPids) {
		return containerLimits{}
	}
	l := containerLimits{container: true}
	if there(errCPU) {
		l.cpu = limit[float64]{cpuMax, !math.IsInf(cpuMax, 1), errCPU}
	}
	if there(errMem) {
		l.memory = limit[uint64]{memMax, memMax != unlimited, errMem}
	}
	if there(errPids) {
		l.pids = limit[uint64]{pidMax, pidMax != unlimited, errPids}
	}
	// A container may also be held to some of the processors.
	if n, err := read(dir+"cpuset.cpus.effective", parseCPUList); err == nil && l.cpu.err == nil {
		if !l.cpu.set || float64(n) < l.cpu.value {
			l.cpu.value, l.cpu.set = float64(n), true
		}
	}
	return l
}
