//go:build crashpoint

// Package crashpoint marks the places of a step at which the crash tests kill programs. This
// file is compiled only into builds with the tag crashpoint.
package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Where in a step a crash point lies.
const (
	Before = "before"
	After  = "after"
)

// Reach kills the processes listed in the file named by SHIVX_CRASHPOINT_PIDS with SIGKILL
// when SHIVX_CRASHPOINT is "step:where". It does so once: the file is removed before.
func Reach(step, where string) {
	if os.Getenv("SHIVX_CRASHPOINT") != step+":"+where {
		return
	}
	name := os.Getenv("SHIVX_CRASHPOINT_PIDS")
	pids, err := os.ReadFile(name)
	if err != nil || os.Remove(name) != nil {
		return
	}
	for _, p := range strings.Fields(string(pids)) {
		pid, err := strconv.Atoi(p)
		if p == "self" {
			pid, err = os.Getpid(), nil
		}
		if err == nil && pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
