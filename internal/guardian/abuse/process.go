package abuse

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// tick is the unit of the times in /proc/PID/stat: USER_HZ, 100 on every architecture Go runs on.
	tick = 10 * time.Millisecond
	// kernelThread is the flag PF_KTHREAD of /proc/PID/stat.
	kernelThread = 0x00200000
)

// identity is one process for ever: a number alone is given to another process some day.
type identity struct {
	PID int `json:"pid"`
	// Start is when it began, in ticks since the machine's start.
	Start uint64 `json:"start"`
}

// process is one process as it was read last.
type process struct {
	identity
	parent int
	comm   string
	state  byte
	kernel bool
	// exe is the program's path, uid the real user: what budgets match.
	exe string
	uid int
	// cpu is its own time, waited that of the children it has waited for.
	cpu, waited time.Duration
	// usedCPU and usedWaited are what was added since the round before.
	usedCPU, usedWaited time.Duration
	// idle is how many readings in a row found no time used.
	idle int
	// resident and shared are in bytes.
	resident, shared int64
	// budgets has the positions of the budgets that match.
	budgets []int
	// born and seen are rounds of reading.
	born, seen uint64
	// stat is the file /proc/PID/stat, kept open for what is read every round; 0: it is not. That
	// halves the price, and an open file stays that of its process even when the number is given to
	// another.
	stat int
}

// live says whether it is more than an entry that waits for its parent.
func (p *process) live() bool { return p.state != 'Z' && p.state != 'X' }

// stopped says whether it is stopped by a signal or a tracer.
func (p *process) stopped() bool { return p.state == 'T' || p.state == 't' }

// label is how findings name it: "123(sh)".
func (p *process) label() string { return fmt.Sprintf("%d(%s)", p.PID, printable(p.comm)) }

// printable makes a name that the process chose harmless in logs and on terminals.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '(' || r == ')' || !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
}

// parseStat reads a line of /proc/PID/stat into p. The name may hold anything, parentheses and line
// breaks too; what follows its last parenthesis is the kernel's. Fields: proc_pid_stat(5).
func (p *process) parseStat(line []byte, page int64) error {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 1 || end < open || end+2 > len(line) {
		return fmt.Errorf("no line of /proc/PID/stat: %.60q", line)
	}
	if comm := line[open+1 : end]; p.comm != string(comm) {
		p.comm = string(comm)
	}
	fields := bytes.Fields(line[end+2:]) // the first of them is the field 3
	if len(fields) < 22 {
		return fmt.Errorf("a line of /proc/PID/stat has too few fields: %.60q", line)
	}
	field := func(n int) uint64 { return number(fields[n-3]) }
	p.state, p.parent = fields[0][0], int(field(4))
	p.kernel = field(9)&kernelThread != 0
	p.cpu = time.Duration(field(14)+field(15)) * tick
	p.waited = time.Duration(field(16)+field(17)) * tick
	p.Start = field(22)
	p.resident = int64(field(24)) * page
	return nil
}

// number reads the digits at the beginning of a word; the kernel writes nothing else there.
func number(word []byte) uint64 {
	var n uint64
	for _, c := range word {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// parseUID reads the real user of /proc/PID/status; -1 when there is none.
func parseUID(status []byte) int {
	_, rest, ok := bytes.Cut(status, []byte("\nUid:"))
	if !ok {
		return -1
	}
	return int(number(bytes.TrimLeft(rest, "\t ")))
}

// parseStatm reads the resident pages of /proc/PID/statm, and those of them that may be shared.
func parseStatm(statm []byte) (resident, shared int64) {
	fields := bytes.Fields(statm)
	if len(fields) < 3 {
		return 0, 0
	}
	return int64(number(fields[1])), int64(number(fields[2]))
}
