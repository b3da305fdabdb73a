package stand

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/testenv"
)

// cgroupRoot is where the kernel's cgroups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// MemoryCgroup is a cgroup with a limit of memory: of version 2, or of version 1 where the host has given the memory to that.
type MemoryCgroup struct {
	// Path below /sys/fs/cgroup.
	Path string

	t testing.TB
	// dir is the whole path, events the file in which the kernel counts whom it killed.
	dir, events string
}

// NewMemoryCgroup makes a cgroup whose processes may use that many bytes, and no swap. It ends with the test.
func NewMemoryCgroup(t testing.TB, limit int64) *MemoryCgroup {
	t.Helper()
	c := &MemoryCgroup{t: t, events: "memory.events"}
	name := fmt.Sprintf("shivx-lab-%d-%d", os.Getpid(), rand.Uint32())
	files := map[string]string{"memory.max": strconv.FormatInt(limit, 10), "memory.swap.max": "0"}
	controllers, _ := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	switch {
	case strings.Contains(string(controllers), "memory"):
		c.Path = name
		_ = os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte("+memory"), 0)
	default:
		c.Path, c.events = filepath.Join("memory", name), "memory.oom_control"
		files = map[string]string{"memory.limit_in_bytes": strconv.FormatInt(limit, 10)}
	}
	c.dir = filepath.Join(cgroupRoot, c.Path)
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		testenv.Missing(t, "needs to make cgroups: "+err.Error())
	}
	t.Cleanup(c.remove)
	for file, text := range files {
		err := os.WriteFile(filepath.Join(c.dir, file), []byte(text), 0)
		if errors.Is(err, os.ErrNotExist) && file == "memory.swap.max" {
			continue // a kernel without swap
		}
		if err != nil {
			testenv.Missing(t, "needs cgroups that limit memory: "+err.Error())
		}
	}
	return c
}

// Procs is the file into which a process writes its number to enter.
func (c *MemoryCgroup) Procs() string { return filepath.Join(c.dir, "cgroup.procs") }

// Killed is how many processes the kernel has killed since the memory was used up.
func (c *MemoryCgroup) Killed() (n int) {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, c.events))
	if err != nil {
		c.t.Fatal(err)
	}
	_, rest, found := strings.Cut("\n"+string(data), "\noom_kill ")
	if !found {
		c.t.Fatalf("%s does not count who was killed: %s", c.events, data)
	}
	if _, err := fmt.Sscan(rest, &n); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// remove ends who is left in the cgroup, and removes it.
func (c *MemoryCgroup) remove() {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		data, _ := os.ReadFile(c.Procs())
		for pid := range strings.FieldsSeq(string(data)) {
			if n, err := strconv.Atoi(pid); err == nil && n > 1 {
				if p, err := os.FindProcess(n); err == nil {
					_ = p.Kill()
				}
			}
		}
		if os.Remove(c.dir) == nil {
			return
		}
	}
	c.t.Errorf("the cgroup %s cannot be removed", c.dir)
}
