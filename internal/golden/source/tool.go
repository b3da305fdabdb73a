package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
)

// tool is a program that is run for an export. Unlike a hook it must never outlive this process, nor
// may its children: pg_basebackup has one that, left alone, would keep the server from removing its
// write-ahead log.
type tool struct {
	argv []string
	// as is the user that it runs as; nil: this process's.
	as *account
	// dir is the folder that it works in. Another user gets it as handed, and works in /.
	dir string
	env map[string]string
	in  io.Reader
	// out takes its standard output; nil: run returns it.
	out *os.File
}

// handed is the name of a tool's folder for another user, who may not pass through the folders above: it
// is handed over open, and the name leads there all the same.
const handed = "/proc/self/fd/3"

// reach returns the name by which the program reaches a path in its folder.
func (t tool) reach(path string) string {
	rel, ok := strings.CutPrefix(path, t.dir)
	if t.as == nil || t.dir == "" || !ok {
		return path
	}
	return handed + rel
}

// run runs the program until ctx ends, and returns the end of what it said.
func (t tool) run(ctx context.Context) (string, error) {
	// The signal at the death of the parent comes when its thread dies; now that lives long enough.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	flags := uintptr(0)
	if os.Geteuid() == 0 {
		flags = syscall.CLONE_NEWPID // its children end with the program
	}
	out, err := t.try(ctx, flags)
	if flags != 0 && errors.Is(err, syscall.EPERM) { // root in a container
		out, err = t.try(ctx, 0)
	}
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if text := strings.TrimSpace(out); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return out, shivx.Hint(fmt.Errorf("%s: %w", filepath.Base(t.argv[0]), err), hintFor(err))
}

func (t tool) try(ctx context.Context, flags uintptr) (string, error) {
	env := map[string]string{"LC_ALL": "C"} // the hints know the English messages
	maps.Copy(env, t.env)
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: flags}
	if t.as != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(t.as.uid), Gid: uint32(t.as.gid), Groups: t.as.groups}
		env["HOME"], env["USER"], env["LOGNAME"] = t.as.home, t.as.name, t.as.name
	}
	var out ending
	cmd := exec.CommandContext(ctx, t.argv[0], t.argv[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = t.dir, command.Environ(env), attr
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.in, &out, &out
	if t.out != nil {
		cmd.Stdout = t.out
	}
	if t.as != nil && t.dir != "" {
		dir, err := os.OpenFile(t.dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return "", err
		}
		defer dir.Close()
		cmd.Dir, cmd.ExtraFiles = "/", []*os.File{dir}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 300 * time.Millisecond
	if err := cmd.Start(); err != nil {
		return "", err
	}
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left, if it was killed itself
	if cmd.ExtraFiles != nil {
		return strings.ReplaceAll(string(out), handed, t.dir), err
	}
	return string(out), err
}

// ending keeps the end of what is written to it.
type ending []byte

// Write never fails.
func (e *ending) Write(p []byte) (int, error) {
	*e = append(*e, p...)
	if over := len(*e) - 4<<10; over > 0 {
		*e = append((*e)[:0], (*e)[over:]...)
	}
	return len(p), nil
}

// errLimit is the cause of a context whose time limit has passed.
var errLimit = errors.New("the time limit has passed")

// limited returns a context that ends when limit has passed, or DefaultLimit when that is 0.
func limited(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: %s", errLimit, limit))
}

// advice is a word for those who read an error, and the text by which it is known.
type advice struct{ text, hint string }

// hintFor says what to do about an error, or "".
func hintFor(err error) string {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return "install the package that has the program"
	}
	if errors.Is(err, errLimit) {
		return "raise limit, or find out what holds the export up"
	}
	text := strings.ToLower(err.Error())
	for _, a := range []advice{
		{"no space left on device", "free some space, or keep exports in a folder on another file system"},
		{"database or disk is full", "free some space, or keep exports in a folder on another file system"},
		{"signal: killed", "something outside killed the program; was it out of memory? see the kernel's log"},
		{"password authentication failed", "correct the password that dsn refers to"},
		{"no password supplied", "give the password in dsn, or in the .pgpass file of the user"},
		{"peer authentication failed", "set user to the database's, such as postgres, or use a password"},
		{"no pg_hba.conf entry for replication", "add a line for \"replication\" to pg_hba.conf and reload PostgreSQL"},
		{"must be superuser or replication role", "grant it: ALTER ROLE … REPLICATION"},
		{"max_wal_senders", "raise max_wal_senders by two and restart PostgreSQL"},
		{"all replication slots are in use", "raise max_replication_slots and restart PostgreSQL"},
		{"wal level not sufficient", "set wal_level to replica and restart PostgreSQL"},
		{"too many clients", "raise max_connections, or end idle sessions"},
		{"connection refused", "is the server running, and is the address right?"},
		{"no such file or directory\"; is the server running", "is the server running, and is the address right?"},
		{"timeout expired", "is the server running, and is the address right?"},
		{"server version", "use the programs of the server's version: set bin to their folder"},
		{"canceling statement due to lock timeout", "end the sessions that use the database, and restore again"},
		{"database is locked", "another process keeps the database locked; end its transaction"},
		{"malformed", "the live database is damaged: restore an older golden"},
		{"file is not a database", "the file is no SQLite database, or damaged or encrypted"},
		{"permission denied", "let the user, and the server, read all that the database has"},
		{"role \"", "set user to the database's, such as postgres, or name one in dsn"},
	} {
		if strings.Contains(text, a.text) {
			return a.hint
		}
	}
	return ""
}
