package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The shapes of the lab's programs: the share of their limit that they use some seconds after they began.
const (
	shapeLeak     = "leak"     // grows until it is used up
	shapeFloor    = "floor"    // the same below a sawtooth, of which the floor rises
	shapeSawtooth = "sawtooth" // grows and is cleaned up, as by a garbage collector
	shapeWarmUp   = "warm-up"  // grows and levels off
)

// leakLife is how long a leak takes from nothing to its limit.
const leakLife = 120 * time.Second

func shareAt(shape string, after time.Duration) float64 {
	t := after.Seconds()
	switch shape {
	case shapeSawtooth:
		return 0.25 + 0.4*math.Mod(t, 9)/9
	case shapeFloor:
		return 0.12 + 0.85*t/leakLife.Seconds() + 0.06*math.Mod(t, 6)/6
	case shapeWarmUp:
		return 0.2 + 0.45*(1-math.Exp(-t/15))
	}
	return 0.15 + 0.85*t/leakLife.Seconds()
}

// grower says what a program of the lab uses, and where.
type grower struct {
	Shape string `json:"shape"`
	// Limit of what is used, in bytes.
	Limit int64 `json:"limit"`
	// Procs is the cgroup whose memory is used, PIDFile gets the number of the process.
	Procs   string `json:"procs,omitempty"`
	PIDFile string `json:"pid_file,omitempty"`
	// Folder is filled with files in place of memory.
	Folder string `json:"folder,omitempty"`
	// Handles says that open files are used up in place of memory; Limit is how many there may be.
	Handles bool `json:"handles,omitempty"`
	// Full gets the time when there was no room any more, or no open file.
	Full string `json:"full,omitempty"`
}

// growerBase is about what this program needs for itself.
const growerBase = 7 << 20

// growEvery is how often a program adds to what it uses.
const growEvery = 100 * time.Millisecond

// playGrower uses memory, or a disk, in the way of its shape, by the clock.
func playGrower(path string) {
	var g grower
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	me := []byte(strconv.Itoa(os.Getpid()))
	if err == nil && g.Procs != "" {
		err = os.WriteFile(g.Procs, me, 0)
	}
	if err == nil && g.PIDFile != "" {
		err = os.WriteFile(g.PIDFile, me, 0o600)
	}
	use := g.memory()
	switch {
	case g.Folder != "":
		use = g.disk()
	case g.Handles:
		use = g.handles()
		if err == nil {
			err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(g.Limit), Max: uint64(g.Limit)})
		}
	}
	noise := rand.New(rand.NewPCG(6, 7))
	began := time.Now()
	for tick := time.NewTicker(growEvery); err == nil; <-tick.C {
		err = use(shareAt(g.Shape, time.Since(began)) + 0.004*noise.NormFloat64())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// memory uses memory up to a share of the limit.
func (g grower) memory() func(share float64) error {
	const chunk = 128 << 10
	var held [][]byte
	return func(share float64) error {
		want := max(0, int(share*float64(g.Limit)-growerBase)/chunk)
		for len(held) < want {
			b, err := unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
			if err != nil {
				return err
			}
			held = append(held, b)
		}
		for len(held) > want {
			last := held[len(held)-1]
			held = held[:len(held)-1]
			if err := unix.Munmap(last); err != nil {
				return err
			}
		}
		return nil
	}
}

// disk writes files: a leak goes on writing, whatever becomes of what it wrote; another removes its own when it uses
// less.
func (g grower) disk() func(share float64) error {
	number, written := 0, 0.0
	return func(share float64) error {
		more := share - written
		if more < -0.1 && g.Shape != shapeLeak {
			files, err := filepath.Glob(filepath.Join(g.Folder, "*.tmp"))
			for _, f := range files {
				err = errors.Join(err, os.Remove(f))
			}
			number, written = 0, 0
			return err
		}
		if more < 0.0005 {
			return nil
		}
		number++
		written = share
		err := os.WriteFile(filepath.Join(g.Folder, fmt.Sprintf("%06d.tmp", number)), make([]byte, int(more*float64(g.Limit))), 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			return g.full()
		}
		return err
	}
}

// handles opens files and does not close them.
func (g grower) handles() func(share float64) error {
	var held []*os.File
	return func(share float64) error {
		for len(held) < int(share*float64(g.Limit)) {
			f, err := os.Open(os.DevNull)
			if errors.Is(err, syscall.EMFILE) {
				err = held[len(held)-1].Close()
				held = held[:len(held)-1]
				return errors.Join(err, g.full())
			}
			if err != nil {
				return err
			}
			held = append(held, f)
		}
		return nil
	}
}

// full notes when it was too late, once.
func (g grower) full() error {
	if _, err := os.Stat(g.Full); err == nil {
		return nil
	}
	return os.WriteFile(g.Full, []byte(time.Now().Format(time.RFC3339Nano)), 0o600)
}
