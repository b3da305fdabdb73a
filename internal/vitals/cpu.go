package vitals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
)

// cpuTimes are counts of seconds of CPU time.
type cpuTimes struct {
	container  bool
	busy, idle float64
}

// backwards is how many seconds a counter may step back without having begun anew: idle and
// iowait do so on some kernels (see proc_stat(5)).
const backwards = 1

// cores counts the processors in use; the error says why it cannot be told.
type cores struct {
	n   int
	err error
}

func (s *Sampler) cores(ctx context.Context) cores {
	n, err := read(s.path("/sys/devices/system/cpu/online"), parseCPUList)
	if err == nil {
		return cores{n, nil}
	}
	path := s.path("/proc/stat")
	each, errStat := guard(path, func() ([]cpu.TimesStat, error) { return cpu.TimesWithContext(with(ctx, s.env), true) })
	if errStat == nil && len(each) > 0 {
		return cores{len(each), nil}
	}
	return cores{0, err}
}

// readCPU adds the busy share of the cores allowed since the last reading.
func (s *Sampler) readCPU(ctx context.Context, c *collector, machine cores, l containerLimits) {
	now := s.o.Monotonic()
	r := &s.cpu
	if r.tooSoon(now, CPU, c) {
		return
	}
	allowed, limited := float64(machine.n), false
	if l.cpu.set && (machine.err != nil || l.cpu.value < allowed) {
		allowed, limited = l.cpu.value, true
	}
	times, err := cpuTimes{}, l.cpu.err
	switch {
	case err != nil:
	case limited:
		times, err = s.containerTimes()
	default:
		times, err = s.machineTimes(ctx)
	}
	if err != nil {
		c.missing(CPU, "", err.Error())
		return
	}
	before, elapsed, first := r.base, (now - r.at).Seconds(), !r.have
	r.have, r.at, r.base, r.last = true, now, times, nil
	switch {
	case first:
		c.missing(CPU, "", firstSample)
		return
	case before.container != times.container:
		c.missing(CPU, "", "the container's limit changed: a rate needs two readings")
		return
	}
	last := &collector{}
	addCPU(last, before, times, elapsed, allowed)
	r.last = last
	c.readings = append(c.readings, last.readings...)
	c.figures = append(c.figures, last.figures...)
}

func addCPU(c *collector, before, now cpuTimes, elapsed, allowed float64) {
	busy, idle := now.busy-before.busy, now.idle-before.idle
	if busy < -backwards || idle < -backwards {
		c.missing(CPU, "", "the counters of CPU time began anew")
		return
	}
	busy, idle = max(busy, 0), max(idle, 0)
	all, tolerance, detail := busy+idle, float64(rounding), ""
	switch {
	case now.container:
		all, tolerance, detail = elapsed*allowed, burst, ofContainer
	case allowed > 0 && all > 2*elapsed*allowed+2:
		c.missing(CPU, "", fmt.Sprintf("%s s of CPU time in %s s on %s cores is more than there is", short(all), short(elapsed), coreCount(allowed)))
		return
	case all == 0:
		c.missing(CPU, "", "the counters of CPU time stand still")
		return
	}
	share := busy / all
	if allowed > 0 {
		detail = short(share*allowed) + " of " + coreCount(allowed) + " cores busy" + detail
	}
	if c.add(Reading{Resource: CPU, Percent: 100 * share, Detail: detail}, tolerance) {
		c.figure("shivx_host_cpu_used_ratio", c.percent()/100)
		if allowed > 0 {
			c.figure("shivx_host_cpu_cores", allowed)
		}
	}
}

// machineTimes reads the line "cpu" of /proc/stat. Time stolen by the hypervisor counts as busy:
// it cannot be used. Guest time is part of user time already.
func (s *Sampler) machineTimes(ctx context.Context) (cpuTimes, error) {
	path := s.path("/proc/stat")
	all, err := guard(path, func() ([]cpu.TimesStat, error) { return cpu.TimesWithContext(with(ctx, s.env), false) })
	if err == nil && len(all) == 0 {
		// gopsutil does not say why.
		if _, err = os.ReadFile(path); err == nil {
			err = fmt.Errorf("%s: its first line has no CPU times", path)
		}
	}
	if err != nil {
		return cpuTimes{}, err
	}
	t := all[0]
	for _, v := range []float64{t.User, t.Nice, t.System, t.Irq, t.Softirq, t.Steal, t.Idle, t.Iowait} {
		if !(v >= 0 && v < 1e15) { // not for NaN either
			return cpuTimes{}, fmt.Errorf("%s: %s is no CPU time", path, short(v))
		}
	}
	return cpuTimes{busy: t.User + t.Nice + t.System + t.Irq + t.Softirq + t.Steal, idle: t.Idle + t.Iowait}, nil
}

func (s *Sampler) containerTimes() (cpuTimes, error) {
	µs, err := read(s.path(cgroupDir+"cpu.stat"), keyed("usage_usec"))
	return cpuTimes{container: true, busy: (time.Duration(µs) * time.Microsecond).Seconds()}, err
}

// loadAverage is the content of /proc/loadavg.
type loadAverage struct {
	one, five, fifteen float64
	threads            uint64
	err                error
}

func (s *Sampler) loadAverage() loadAverage {
	l, err := read(s.path("/proc/loadavg"), parseLoadAverage)
	l.err = err
	return l
}

// maxLoad is the number of threads Linux can have at all (PID_MAX_LIMIT).
const maxLoad = 1 << 22

// parseLoadAverage reads "0.05 0.17 0.63 2/95 4552": the averages, then running and all threads.
func parseLoadAverage(data []byte) (loadAverage, error) {
	fields := strings.Fields(string(data))
	if len(fields) == 0 {
		return loadAverage{}, errors.New("empty")
	}
	bad := fmt.Errorf("%q is no load average", excerpt(string(data)))
	if len(fields) < 4 {
		return loadAverage{}, bad
	}
	var l loadAverage
	for i, to := range []*float64{&l.one, &l.five, &l.fifteen} {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || !(v >= 0 && v <= maxLoad) { // not for NaN either
			return loadAverage{}, bad
		}
		*to = v
	}
	_, threads, _ := strings.Cut(fields[3], "/")
	n, err := strconv.ParseUint(threads, 10, 32)
	if err != nil || n == 0 {
		return loadAverage{}, bad
	}
	l.threads = n
	return l, nil
}

func readLoad(c *collector, l loadAverage, machine cores) {
	if l.err != nil {
		c.missing(Load, "", l.err.Error())
		return
	}
	if machine.err != nil {
		c.missing(Load, "", "the number of processors is not known: "+machine.err.Error())
		return
	}
	detail := strconv.FormatFloat(l.one, 'f', 2, 64) + " on " + coreCount(float64(machine.n)) + " cores"
	if c.add(Reading{Resource: Load, Percent: 100 * l.one / float64(machine.n), Detail: detail}, 0) {
		c.figure("shivx_host_load1", l.one)
		c.figure("shivx_host_load5", l.five)
		c.figure("shivx_host_load15", l.fifteen)
	}
}

// coreCount writes a number of cores, which a quota makes a fraction.
func coreCount(n float64) string { return strconv.FormatFloat(n, 'g', 3, 64) }
