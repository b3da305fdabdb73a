package abuse

import (
	"fmt"
	"os/user"
	"strconv"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx/internal/config"
)

// budget is one budget as it is watched.
type budget struct {
	config.Budget
	limits
	// uid of the account; -1: the budget is not one of an account.
	uid int
	// cgroups that match, as they were found at the time looked.
	cgroups []string
	looked  time.Time
	// trouble is why it cannot be watched here.
	trouble string
	// failing is why its cgroups cannot be found now.
	failing string
}

func newBudget(c config.Budget, tree error) *budget {
	b := &budget{
		Budget: c, uid: -1,
		limits: limits{cpu: int64(c.CPU), memory: int64(c.MemoryMB) * megabyte, processes: c.Processes, span: c.For},
	}
	switch {
	case c.User != "":
		uid, err := uidOf(c.User)
		if err != nil {
			b.trouble = err.Error()
		}
		b.uid = uid
	case c.Cgroup != "" && tree != nil:
		b.trouble = tree.Error()
	}
	return b
}

// uidOf returns the number of an account.
func uidOf(name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return int(n), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return -1, fmt.Errorf("look up the account %s: %w", name, err)
	}
	n, err := strconv.Atoi(u.Uid)
	if err != nil {
		return -1, fmt.Errorf("look up the account %s: %w", name, err)
	}
	return n, nil
}

// match returns the budgets of a process: those of its program and of its account.
func (w *Watch) match(p *process) []int {
	var found []int
	for i, b := range w.budgets {
		if b.uid >= 0 && b.uid == p.uid || p.exe != "" && b.Process != "" && globbed(b.Process, p.exe) {
			found = append(found, i)
		}
	}
	return found
}

func globbed(pattern, path string) bool {
	ok, err := doublestar.Match(pattern, path)
	return ok && err == nil
}
