package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/resp"
)

// redisSession is a connection to a server that is logged in.
type redisSession struct {
	conn *resp.Conn
	net  net.Conn
	stop func() bool
}

// dial connects and logs in. The connection is closed when ctx ends.
func (r *Redis) dial(ctx context.Context) (*redisSession, error) {
	network, where := "tcp", r.o.Address
	if path, ok := strings.CutPrefix(where, "unix:"); ok {
		network, where = "unix", path
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, where)
	if err != nil {
		return nil, shivx.Hint(err, "is Redis running, and is the address right?")
	}
	s := &redisSession{conn: resp.New(conn), net: conn}
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := r.login(s.conn); err != nil {
		s.close()
		return nil, fmt.Errorf("log in to Redis at %s: %w", r.o.Address, err)
	}
	return s, nil
}

func (r *Redis) login(c *resp.Conn) error {
	if r.o.Password == "" {
		return nil
	}
	password, err := config.Resolve(r.o.Password)
	if err != nil {
		return err
	}
	args := []string{"AUTH", password}
	if r.o.Username != "" {
		args = []string{"AUTH", r.o.Username, password}
	}
	_, err = c.Call(args...)
	return err
}

func (s *redisSession) close() {
	s.stop()
	_ = s.net.Close()
}

// layout asks the server where it keeps its data. Its configuration file may say something else than
// the running server, so an append-only file counts when there is one, too.
func (s *redisSession) layout(dir string) (redisLayout, error) {
	set := map[string]string{}
	for _, key := range []string{"dir", "dbfilename", "appendonly", "appendfilename", "appenddirname"} {
		pair, err := s.conn.List("CONFIG", "GET", key)
		if err != nil {
			return redisLayout{}, fmt.Errorf("ask Redis for its folder: CONFIG GET %s: %w", key, err)
		}
		if len(pair) == 2 {
			set[key] = pair[1]
		}
	}
	if dir != "" {
		set["dir"] = dir
	}
	if !filepath.IsAbs(set["dir"]) || set["dbfilename"] == "" {
		return redisLayout{}, fmt.Errorf("Redis saves to %q in the folder %q", set["dbfilename"], set["dir"])
	}
	l := redisLayout{rdb: filepath.Join(set["dir"], set["dbfilename"])}
	log, manifest := filepath.Join(set["dir"], set["appendfilename"]), ""
	if folder := set["appenddirname"]; folder != "" {
		log, manifest = filepath.Join(set["dir"], folder), set["appendfilename"]+".manifest"
	}
	if _, err := os.Lstat(log); err == nil || set["appendonly"] == "yes" {
		l.log, l.manifest = log, manifest
	}
	return l, nil
}

// save makes the server save its data, waits for the end and opens the file.
func (s *redisSession) save(ctx context.Context, path string) (*os.File, error) {
	before, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	state, err := s.idle(ctx, "rdb_bgsave_in_progress")
	if err != nil {
		return nil, err
	}
	if status := state["rdb_last_bgsave_status"]; status != "ok" {
		return nil, shivx.Hint(fmt.Errorf("Redis could not save its data: rdb_last_bgsave_status is %q", status),
			"see the log of Redis; is there space in "+filepath.Dir(path)+", and memory for a second process (vm.overcommit_memory)?")
	}
	f, err := openLive(filepath.Dir(path), filepath.Base(path)) // a save leaves a file, never a link
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("Redis has saved its data: %w", err), elsewhere)
	}
	after, err := f.Stat()
	if err == nil && before != nil && os.SameFile(before, after) && before.ModTime().Equal(after.ModTime()) {
		err = shivx.Hint(fmt.Errorf("Redis has saved its data, but not to %s", path), elsewhere)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

const elsewhere = "does Redis run in a container? say in dir where its data folder is on this host"

// begin starts a save. One that runs already may lack what was written just now, so its end is awaited.
func (s *redisSession) begin(ctx context.Context) error {
	for {
		_, err := s.conn.Call("BGSAVE")
		answer, refused := errors.AsType[resp.Error](err)
		if !refused {
			return err
		}
		if text := strings.ToLower(string(answer)); !strings.Contains(text, "in progress") && !strings.Contains(text, "child process") {
			return fmt.Errorf("BGSAVE: %w", err)
		}
		if _, err := s.idle(ctx, "rdb_bgsave_in_progress", "aof_rewrite_in_progress", "module_fork_in_progress"); err != nil {
			return err
		}
	}
}

// idle waits until none of what the keys name goes on, and returns the state of persistence then.
func (s *redisSession) idle(ctx context.Context, keys ...string) (map[string]string, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		text, err := s.conn.Call("INFO", "persistence")
		if err != nil {
			return nil, fmt.Errorf("INFO persistence: %w", err)
		}
		state, busy := map[string]string{}, false
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			state[key] = value
		}
		for _, key := range keys {
			busy = busy || state[key] != "" && state[key] != "0"
		}
		if !busy {
			return state, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// copyTo copies a file to a new one, as a clone where the file system can.
func copyTo(ctx context.Context, path string, from *os.File) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for err == nil && ctx.Err() == nil {
		if _, err = io.CopyN(f, from, 64<<20); errors.Is(err, io.EOF) {
			return f.Close()
		}
	}
	return errors.Join(err, ctx.Err(), f.Close())
}

// checkRDB checks a saved file with the program redis-check-rdb; without it, only that the file has
// its beginning.
func checkRDB(ctx context.Context, path string) error {
	head := make([]byte, 9)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.ReadFull(f, head); err != nil || !bytes.HasPrefix(head, []byte("REDIS")) {
		return shivx.Hint(fmt.Errorf("%s is no saved data of Redis: it begins with %q", path, head), elsewhere)
	}
	if _, err := exec.LookPath("redis-check-rdb"); err != nil {
		return nil
	}
	if out, err := (tool{argv: []string{"redis-check-rdb", path}}).run(ctx); err != nil || !strings.Contains(out, "RDB looks OK") {
		return errors.Join(fmt.Errorf("redis-check-rdb finds %s damaged", path), err)
	}
	return nil
}

// redisHint says what to do about an error, or what its own hint says.
func redisHint(err error) string {
	if hint := shivx.HintOf(err); hint != "" {
		return hint
	}
	answer, _ := errors.AsType[resp.Error](err)
	switch answer.Code() {
	case "NOAUTH", "WRONGPASS":
		return "correct username and password"
	case "NOPERM":
		return "give the user the rights: +bgsave +info +config|get"
	case "LOADING":
		return "wait until Redis has loaded its data"
	case "ERR":
		return "Redis must know the commands BGSAVE, INFO and CONFIG GET, and the password must be right"
	}
	return hintFor(err)
}

// manifestName writes a file name as a manifest has it: in quotes when it needs them.
func manifestName(name string) string {
	if strings.ContainsAny(name, " \t\"'\\") {
		return strconv.Quote(name)
	}
	return name
}
