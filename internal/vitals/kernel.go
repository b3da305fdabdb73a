package vitals

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// readThreads adds the share of threads in use, of the container's if it has a limit. The number
// is the one /proc/loadavg has, so that no folder of a process is walked.
func (s *Sampler) readThreads(c *collector, load loadAverage, l containerLimits) {
	used, most, err := load.threads, uint64(0), load.err
	if err == nil {
		most, err = s.maxThreads()
	}
	detail := ""
	switch {
	case l.pids.err != nil:
		err = l.pids.err
	case l.pids.set && (err != nil || l.pids.value < most):
		most, detail = l.pids.value, ofContainer
		used, err = read(s.path(cgroupDir+"pids.current"), parseCount)
	}
	if err != nil {
		c.missing(Threads, "", err.Error())
		return
	}
	a, b := float64(used), float64(most)
	if c.add(Reading{Resource: Threads, Percent: 100 * a / b, Detail: ofCount(a, b) + detail}, rounding) {
		c.figure("shivx_host_threads", a)
		c.figure("shivx_host_threads_limit", b)
	}
}

// maxThreads is the lower of the two limits of the kernel: each thread needs a number.
func (s *Sampler) maxThreads() (uint64, error) {
	threads, err := read(s.path("/proc/sys/kernel/threads-max"), parseCount)
	if err != nil {
		return 0, err
	}
	numbers, err := read(s.path("/proc/sys/kernel/pid_max"), parseCount)
	return min(threads, numbers), err
}

// openFiles is the content of file-nr: handles in use and the most there can be.
type openFiles struct{ used, most uint64 }

// parseFileNr reads "681 0 2466170".
func parseFileNr(data []byte) (openFiles, error) {
	fields := strings.Fields(string(data))
	if len(fields) == 0 {
		return openFiles{}, errors.New("empty")
	}
	if len(fields) == 3 {
		used, err1 := strconv.ParseUint(fields[0], 10, 64)
		free, err2 := strconv.ParseUint(fields[1], 10, 64)
		most, err3 := strconv.ParseUint(fields[2], 10, 64)
		if err1 == nil && err2 == nil && err3 == nil && most > 0 && free <= used {
			return openFiles{used - free, most}, nil
		}
	}
	return openFiles{}, fmt.Errorf("%q is no count of open files", excerpt(string(data)))
}

// readOpenFiles adds the share of the machine's file handles in use; containers have no limit of their own.
func (s *Sampler) readOpenFiles(c *collector) {
	f, err := read(s.path("/proc/sys/fs/file-nr"), parseFileNr)
	if err != nil {
		c.missing(OpenFiles, "", err.Error())
		return
	}
	used, most := float64(f.used), float64(f.most)
	if c.add(Reading{Resource: OpenFiles, Percent: 100 * used / most, Detail: ofCount(used, most)}, rounding) {
		c.figure("shivx_host_open_files", used)
		c.figure("shivx_host_open_files_limit", most)
	}
}
