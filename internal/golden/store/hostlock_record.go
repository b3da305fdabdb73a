package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

// lockRecord is what a lock says to people and, on the same machine, to programs.
type lockRecord struct {
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Purpose string    `json:"purpose"`
	Mode    string    `json:"mode"`
	Time    time.Time `json:"time"`
	// Kernel, Space and Started tell this process from others with the same number: the id of the
	// boot, the namespace of process numbers, and the start in ticks since the boot.
	Kernel  string `json:"kernel,omitempty"`
	Space   string `json:"space,omitempty"`
	Started string `json:"started,omitempty"`
}

func (h *hostLocks) record(mode Mode) lockRecord {
	r := lockRecord{Host: h.opts.Host, PID: os.Getpid(), Purpose: h.opts.Purpose, Mode: "shared", Time: time.Now().UTC().Truncate(time.Second)}
	if mode == Exclusive {
		r.Mode = "exclusive"
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		r.Kernel = strings.TrimSpace(string(kernel))
	}
	r.Space, _ = os.Readlink("/proc/self/ns/pid")
	r.Started, _ = processStart(os.Getpid())
	return r
}

// dead is true when it is certain that the process that made the lock has ended.
func (r lockRecord) dead(self lockRecord) bool { return r.deadBy(self, processStart) }

func (r lockRecord) deadBy(self lockRecord, start func(pid int) (string, error)) bool {
	if r.Kernel == "" || r.Space == "" || r.Started == "" || r.Kernel != self.Kernel || r.Space != self.Space {
		return false
	}
	started, err := start(r.PID)
	if errors.Is(err, fs.ErrNotExist) {
		// Unless others' processes are hidden from this one.
		_, err := start(1)
		return err == nil
	}
	return err == nil && started != r.Started
}

func (r lockRecord) String() string {
	text := fmt.Sprintf("host %s, process %d", r.Host, r.PID)
	if r.Purpose != "" {
		text += " (" + r.Purpose + ")"
	}
	return text + ", since " + r.Time.Format(time.RFC3339) + " by its clock"
}

// processStart is when a process was started, in ticks since the boot.
func processStart(pid int) (string, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	// The second field is the name in parentheses, with anything in it.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	return fields[19], nil
}

func readLock(ctx context.Context, b Backend, name string) (lockRecord, error) {
	var r lockRecord
	data, err := get(ctx, b, name)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	return r, err
}

// refused says who holds the lock. They are listed anew: those that were seen last may have been renewed
// since, under other names.
func (w *watch) refused(ctx context.Context, own *lease) error {
	// The caller's time is over; the words are worth a moment more.
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	who, again := w.holders(brief, own)
	for range 3 {
		if again {
			who, again = w.holders(brief, own)
		}
	}
	if len(who) == 0 {
		who = []string{"others, one after another"}
	}
	err := fmt.Errorf("the store is locked by %s: %w", strings.Join(who, "; "), context.Cause(ctx))
	return shivx.Hint(err, fmt.Sprintf("wait for it to end; a lock whose process is gone is taken over after %v of waiting", w.h.opts.Stale))
}

// holders says who has the locks that are in the way; again, that one of them was renewed meanwhile, so that only
// its name is known.
func (w *watch) holders(ctx context.Context, own *lease) (who []string, again bool) {
	for info, err := range w.h.b.List(ctx, locksDir) {
		n, ok := parseHostLock(info.Name)
		if err != nil || !ok || n.id == own.id || own.mode == Shared && !n.exclusive() {
			continue
		}
		text := n.name()
		r, err := readLock(ctx, w.h.b, text)
		if err == nil {
			text = r.String()
		}
		again = again || errors.Is(err, fs.ErrNotExist)
		if !slices.Contains(who, text) {
			who = append(who, text)
		}
	}
	return who, again
}
