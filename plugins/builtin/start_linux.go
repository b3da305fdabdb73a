package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/plugins/sdk"
)

// record is written down after a start.
type record struct {
	Key   string `json:"key"`
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`

	written time.Time
}

func (s service) readRecord() (record, bool) {
	var rec record
	path := workFile(s.req, "started.json")
	info, err := os.Stat(path)
	if err != nil {
		return rec, false
	}
	rec.written = info.ModTime()
	data, err := os.ReadFile(path)
	return rec, err == nil && json.Unmarshal(data, &rec) == nil && rec.PID > 1
}

func (s service) writeRecord(p proc) error {
	path := workFile(s.req, "started.json")
	if path == "" {
		return nil
	}
	data, err := json.Marshal(record{Key: s.req.Key, PID: p.pid, Start: p.start})
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, data, 0o600)
}

// started says whether a process lives that was started under the step's key. Three marks are
// looked at, since programs that rename themselves overwrite their environment and some close
// all files: our record, a lock that the process inherited, and a variable in its environment.
func (s service) started() (string, bool, error) {
	if rec, ok := s.readRecord(); ok && rec.Key == s.req.Key {
		if p, alive := s.host.fs.read(rec.PID); alive && p.start == rec.Start {
			return p.String(), true, nil
		}
	}
	if s.lockHeld() {
		return "a process that holds its start lock", true, nil
	}
	list, err := s.host.fs.all()
	if err != nil {
		return "", false, err
	}
	for _, p := range list {
		if p.pid != os.Getpid() && s.host.fs.hasEnv(p.pid, effectVar, s.req.Key) && s.owns(p) {
			return p.String(), true, nil
		}
	}
	return "", false, nil
}

// lockHeld says whether the lock made for this key is still held, by the process that
// inherited it or by any of its descendants.
func (s service) lockHeld() bool {
	f, err := os.Open(workFile(s.req, "start.lock"))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	key, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil || string(key) != s.req.Key {
		return false
	}
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// newLock makes a locked file that holds the key. Whoever inherits it keeps the lock.
func (s service) newLock() (*os.File, error) {
	path := workFile(s.req, "start.lock")
	if path == "" {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".start-lock-")
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(s.req.Key)
	if err = errors.Join(err, unix.Flock(int(f.Fd()), unix.LOCK_EX)); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return f, nil
}

// start starts the service detached: in a session of its own, which outlives the agent, with
// its output in a file. It watches for an exit at once.
func (s service) start(ctx context.Context) ([]string, error) {
	cmd, closeFiles, err := s.prepare()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Line(s.Start), err)
	}
	logged := logSize(s.Log)
	err = cmd.Start()
	closeFiles()
	if err != nil {
		return nil, failed(fmt.Errorf("start %s: %w", command.Line(s.Start), err), "check the option start, and user and dir if they are set")
	}
	pid := cmd.Process.Pid
	p, alive := s.host.fs.read(pid)
	exited := make(chan error, 1)
	// Reaps the child whenever it ends, so that no zombie stays while the agent lives.
	go func() { exited <- cmd.Wait() }()
	if alive {
		err = s.writeRecord(p)
	}
	if s.WritePID {
		err = errors.Join(err, renameio.WriteFile(s.PIDFile, []byte(strconv.Itoa(pid)+"\n"), 0o644))
	}
	if err != nil {
		return nil, fmt.Errorf("started %s as pid %d, but could not write it down: %w", command.Line(s.Start), pid, err)
	}
	if err := s.watch(ctx, pid, exited, logged); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("started %s as pid %d", command.Line(s.Start), pid)}, nil
}

// prepare opens what the service gets; closeFiles closes our side of it.
func (s service) prepare() (cmd *exec.Cmd, closeFiles func(), err error) {
	var files []*os.File
	closeFiles = func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	cmd = exec.Command(s.Start[0], s.Start[1:]...) //nolint:noctx // it is meant to outlive the step
	cmd.Env, cmd.Dir = s.environ(), s.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cmd.SysProcAttr.Credential, err = credential(s.User); err != nil {
		return nil, nil, err
	}
	if s.Log != "" {
		out, err := openLog(s.Log, cmd.SysProcAttr.Credential)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, out)
		cmd.Stdout, cmd.Stderr = out, out
	}
	held, err := s.newLock()
	if err != nil {
		closeFiles()
		return nil, nil, fmt.Errorf("start lock: %w", err)
	}
	if held != nil {
		files = append(files, held)
		cmd.ExtraFiles = []*os.File{held}
	}
	return cmd, closeFiles, nil
}

// watch looks for an exit within the grace time. A start program that ends with 0 is right as
// long as it leaves a process behind.
func (s service) watch(ctx context.Context, pid int, exited <-chan error, logged int64) error {
	grace := time.NewTimer(s.startGrace())
	defer grace.Stop()
	select {
	case <-grace.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case err := <-exited:
		if err != nil {
			return sdk.Failf("read the service's log; run the command by hand as the same user", "%s ended at once: %v%s",
				command.Line(s.Start), err, s.said(logged))
		}
	}
	for {
		if _, ok, err := s.started(); ok || err != nil {
			return err
		}
		if file, since := readPIDFile(s.PIDFile); file != pid {
			if p, ok := s.host.fs.read(file); ok && s.isService(p, since) {
				return nil
			}
		}
		select {
		case <-grace.C:
			return sdk.Failf("if it puts itself in the background, set pid_file, and start_grace to the time it needs",
				"%s ended at once with status 0 and left no process%s", command.Line(s.Start), s.said(logged))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// said quotes the end of what the service has logged since.
func (s service) said(from int64) string {
	f, err := os.Open(s.Log)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	size := logSize(s.Log)
	data := make([]byte, min(max(0, size-from), 1024))
	n, _ := f.ReadAt(data, size-int64(len(data)))
	if text := strings.TrimSpace(string(data[:n])); text != "" {
		return "; it said " + strconv.Quote(text)
	}
	return ""
}

func logSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func openLog(path string, as *syscall.Credential) (*os.File, error) {
	_, before := os.Lstat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, err
	}
	if as != nil && errors.Is(before, os.ErrNotExist) {
		if err := f.Chown(int(as.Uid), int(as.Gid)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// credential looks the user and its groups up; nil for our own.
func credential(name string) (*syscall.Credential, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	c := &syscall.Credential{}
	for _, id := range append([]string{u.Uid, u.Gid}, ids...) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		c.Groups = append(c.Groups, uint32(n))
	}
	c.Uid, c.Gid, c.Groups = c.Groups[0], c.Groups[1], c.Groups[2:]
	return c, nil
}
