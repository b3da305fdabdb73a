// Package vitals reads the vital figures of a host: CPU, memory, disks, load, threads, open
// files, network and pressure, those of the container where the agent runs in one.
//
// A reading that cannot be had is there with the reason, never as zero: who judges the host must
// know what is not known. What the kernel does not have, such as pressure before Linux 4.20, has
// no reading at all.
//
// # Sources
//
// CPU times, memory, file systems and network counters come from gopsutil, the rest from files of
// /proc and /sys below a root that can be set. gopsutil hides some failures: it answers without
// an error when a file cannot be read, fills gaps from the system call of the machine it runs on,
// takes "NaN" for a number and panics at a line cut short. Each of its answers is checked for
// that, and the load is read here, for its file has the number of threads too.
//
// # Containers
//
// Limits count as those of a container when the root of the cgroup v2 hierarchy has the files of
// a limit (cpu.max, memory.max or pids.max): the kernel gives none to the real root, so that what
// is mounted is the root of a cgroup namespace. Only that root is read: groups above it cannot
// be seen from inside, and those below it divide what it has. Cgroup v1, and v2 mounted elsewhere
// as in a hybrid setup, are not asked. A limit that is "max", or above what the machine has,
// leaves the machine's figure in place. The kernel keeps no load average of a container: load is
// the machine's, over the machine's cores, lest busy neighbours count as this container's
// fault; what waits in the container is told by its pressure.
package vitals

import "time"

// Resource is what a reading is about, one for each curve of the score.
type Resource string

// The resources.
const (
	CPU            Resource = "cpu"
	Load           Resource = "load"
	Memory         Resource = "memory"
	Disk           Resource = "disk"
	Inodes         Resource = "inodes"
	Threads        Resource = "threads"
	OpenFiles      Resource = "open_files"
	Network        Resource = "network"
	PressureCPU    Resource = "pressure_cpu"
	PressureMemory Resource = "pressure_memory"
	PressureIO     Resource = "pressure_io"
)

// Reading is the use of one resource in percent of what there is.
//
// cpu: busy share of the cores allowed; load: 1-minute load of the machine per core; memory, disk,
// inodes, threads, open_files: share in use, and 100 for a disk to which nothing can be written; network: share of packets with errors or drops, or
// of TCP segments sent again, whichever is worse; pressure_*: share of time with a stall over 10 s ("some" for cpu, "full" for the others).
type Reading struct {
	Resource Resource `json:"resource"`
	// Subject is the mount point of disk and inodes, else "".
	Subject string `json:"subject,omitempty"`
	// Percent is a finite number, at least 0; only load can exceed 100. Meaningless when Missing.
	Percent float64 `json:"percent"`
	// Detail is one short text for people, e.g. "7.2 of 8.0 GiB, limit of the container".
	Detail string `json:"detail,omitempty"`
	// Missing says why there is no value; "" when there is one.
	Missing string `json:"missing,omitempty"`
}

// Figure is one measured value for the history and for /metrics.
type Figure struct {
	// Name follows Prometheus' conventions: shivx_host_<what>_<unit>, base units.
	Name string
	// Label and Subject name what it is about, e.g. "mountpoint" and "/var"; both "" when there is one only.
	Label, Subject string
	Value          float64
}

// Sample is everything read at one time.
type Sample struct {
	// At is the wall clock, for people and for the history.
	At time.Time
	// Elapsed is the time since the sampler was made, on the monotonic clock: it never jumps.
	Elapsed  time.Duration
	Readings []Reading
	Figures  []Figure
	// Notices are things worth knowing that are no reading, such as a clock that jumped.
	Notices []string
	// Container is true when the limits are those of a container.
	Container bool
}
