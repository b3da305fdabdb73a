package vitals

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v3/common"
)

// Options say where and how the figures are read.
type Options struct {
	// Root is where the host's file system is seen; "" means "/".
	Root string
	// Mounts lists the mount points to watch, as glob patterns (doublestar); empty: every local,
	// writable file system on a fixed disk, each once, those for booting excepted. ExcludeMounts
	// leaves some out of either.
	Mounts, ExcludeMounts []string
	// Timeout bounds the questions to all file systems together; 0 means 2 s.
	Timeout time.Duration
	// Logger is told when a reading gets lost and when it is back; nil: nobody is.
	Logger *slog.Logger
	// Wall and Monotonic replace the clocks, for tests in event time; nil: the real ones.
	Wall      func() time.Time
	Monotonic func() time.Duration

	usage usageFunc
}

const (
	defaultTimeout = 2 * time.Second
	// minInterval between two readings of a counter: over less, a tick of the kernel's clock
	// (10 ms) would be a visible part of the rate.
	minInterval = 200 * time.Millisecond
)

// Sampler reads the vital figures of one host. Its methods may be called concurrently; samples
// are taken one after the other.
type Sampler struct {
	o      Options
	root   string // without the slash at its end, "" for "/"
	env    common.EnvMap
	netEnv common.EnvMap

	mu       sync.Mutex
	began    time.Duration
	clock    clockWatch
	cpu      rate[cpuTimes]
	net      rate[netCounters]
	physical map[string]bool
	had      map[Resource]bool // pressure that was there once is expected from then on
	disks    disks
	lost     map[string]bool // readings that were missing in the last sample
}

// rate is the state of a reading made of the difference of two counts.
type rate[T any] struct {
	have bool
	at   time.Duration
	base T
	last *collector // what the last difference gave
}

// tooSoon answers a question that comes before a rate can be told: with the last answer if there is one.
func (r *rate[T]) tooSoon(now time.Duration, res Resource, c *collector) bool {
	if !r.have || now-r.at >= minInterval {
		return false
	}
	if r.last == nil {
		c.missing(res, "", firstSample)
		return true
	}
	c.readings = append(c.readings, r.last.readings...)
	c.figures = append(c.figures, r.last.figures...)
	return true
}

// NewSampler takes the first reading of the counters, so that the first sample has rates when it
// comes at least 200 ms later.
func NewSampler(o Options) *Sampler {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Monotonic == nil {
		start := time.Now()
		o.Monotonic = func() time.Duration { return time.Since(start) }
	}
	if o.usage == nil {
		o.usage = readUsage
	}
	o.Mounts, o.ExcludeMounts = withoutSlash(o.Mounts), withoutSlash(o.ExcludeMounts)
	root := strings.TrimRight(o.Root, "/")
	s := &Sampler{
		o: o, root: root, began: o.Monotonic(),
		env:      common.EnvMap{common.HostProcEnvKey: root + "/proc", common.HostSysEnvKey: root + "/sys"},
		physical: map[string]bool{}, had: map[Resource]bool{}, disks: newDisks(), lost: map[string]bool{},
	}
	s.netEnv = s.env
	// /proc/net is the network of who asks: below another root the host's is that of its process 1.
	if _, err := os.Stat(root + "/proc/1/net/dev"); root != "" && err == nil {
		s.netEnv = common.EnvMap{common.HostProcEnvKey: root + "/proc/1", common.HostSysEnvKey: root + "/sys"}
	}
	s.clock.look(o.Wall(), s.began)
	var first collector
	s.readCPU(context.Background(), &first, s.cores(context.Background()), s.limits())
	s.readNetwork(context.Background(), &first)
	return s
}

// Sample reads everything. It never fails: what cannot be read is there as missing, with the reason.
func (s *Sampler) Sample(ctx context.Context) Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Monotonic()
	sample := Sample{At: s.o.Wall().Round(0), Elapsed: now - s.began}
	sample.Notices = s.clock.look(sample.At, now)

	c := &collector{readings: make([]Reading, 0, 16), figures: make([]Figure, 0, 64)}
	cores, limits := s.cores(ctx), s.limits()
	sample.Container = limits.container
	s.readCPU(ctx, c, cores, limits)
	load := s.loadAverage()
	readLoad(c, load, cores)
	s.readMemory(ctx, c, limits)
	s.readDisks(ctx, c)
	s.readThreads(c, load, limits)
	s.readOpenFiles(c)
	s.readNetwork(ctx, c)
	s.readPressures(c, limits)
	sample.Readings, sample.Figures = c.readings, c.figures
	s.logChanges(sample.Readings)
	return sample
}

// path is a path of the host as seen from here.
func (s *Sampler) path(p string) string { return s.root + p }

// with makes gopsutil read below the root, whatever the environment says.
func with(ctx context.Context, env common.EnvMap) context.Context {
	return context.WithValue(ctx, common.EnvKey, env)
}

// logChanges tells once that a reading got lost, and once that it is back.
func (s *Sampler) logChanges(readings []Reading) {
	for i := range readings {
		r := &readings[i]
		if r.Missing == "" && len(s.lost) == 0 {
			continue
		}
		name := string(r.Resource)
		if r.Subject != "" {
			name += "[" + r.Subject + "]"
		}
		switch {
		case r.Missing == "" && s.lost[name]:
			delete(s.lost, name)
			s.o.Logger.Info("vital figure is back", "reading", name)
		case r.Missing != "" && r.Missing != firstSample && !s.lost[name]:
			s.lost[name] = true
			s.o.Logger.Warn("vital figure is missing", "reading", name, "reason", r.Missing)
		}
	}
}
