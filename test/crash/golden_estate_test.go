package crash_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// estateConfig is a host with a set of two paths on two disks, and a service that is only healthy with
// the files of a good state.
const estateConfig = `
version: 1
host: estate
api: {listen: "off"}
paths: {var: DIR/var/shivx}
components:
  - name: shop
    checks: [{command: {argv: [grep, -q, good, DIR/run/loaded]}}]
    ladder: [{name: restart, use: process, with: {start: [/bin/sh, DIR/serve], pid_file: DIR/run/pid, stop_timeout: 1s, start_grace: 50ms}}]
    validate: {window: 0s, every: 20ms, settle: 50ms}
golden:
  store: {path: DIR/store/golden}
  parity: 10
  sets:
    - name: shop
      paths: [DIR/etc/shop, DIR/srv/shop]
      exclude: ["DIR/srv/shop/cache/**"]
      sources: [{name: orders, sqlite: {path: DIR/srv/shop/orders.db}}]
      services: [shop]
      validate: [{match: "/**/*.json", format: json}]
      keep: {last: KEEP, daily: 0, weekly: 0, monthly: 0}
`

// estateServe reads the state files of both paths when it starts, and does not start where one says "dead".
const estateServe = `rm -f DIR/run/loaded
grep -q dead DIR/etc/shop/state DIR/srv/shop/state && exit 3
echo $$ > DIR/run/pid.new && mv DIR/run/pid.new DIR/run/pid &&
	cat DIR/etc/shop/state DIR/srv/shop/state > DIR/run/loading && mv DIR/run/loading DIR/run/loaded && exec sleep 3600
`

// estate is a host, its set, its service and its store, driven by the command line alone. Each of its
// folders etc, srv, var and store is a small disk of its own.
type estate struct {
	dir  string
	rnd  *rand.Rand
	bin  string
	conf string
	disk map[string]*disk
}

func newEstate(t *testing.T, seed uint64) *estate {
	t.Helper()
	testenv.Need(t, "sqlite3", "sh", "grep", "sleep")
	e := &estate{dir: t.TempDir(), bin: stand.Bin(t, "shivx"), rnd: rand.New(rand.NewPCG(seed, 1)), disk: map[string]*disk{}}
	for _, name := range []string{"etc", "srv", "var", "store"} {
		e.disk[name] = newDisk(t, filepath.Join(e.dir, name))
	}
	require.NoError(t, os.Mkdir(e.path("run"), 0o700))
	e.put(t, "serve", strings.ReplaceAll(estateServe, "DIR", e.dir))
	e.put(t, "srv/shop/cache/page", "what is excluded stays as it is")
	e.configure(t, "keep.yaml", 100)
	e.configure(t, "prune.yaml", 2)
	e.conf = "keep.yaml"
	t.Cleanup(func() { _ = syscall.Kill(e.pid(), syscall.SIGKILL) })
	return e
}

func (e *estate) configure(t *testing.T, name string, keep int) {
	t.Helper()
	e.put(t, name, strings.NewReplacer("DIR", e.dir, "KEEP", strconv.Itoa(keep)).Replace(estateConfig))
}

func (e *estate) path(name string) string { return filepath.Join(e.dir, name) }

func (e *estate) roots() []string { return []string{e.path("etc"), e.path("srv")} }

func (e *estate) put(t *testing.T, name, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(e.path(name)), 0o755))
	require.NoError(t, os.WriteFile(e.path(name), []byte(content), 0o644))
}

// command is a call of the real program.
func (e *estate) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	said := &bytes.Buffer{}
	cmd := exec.Command(e.bin, append(args, "--config", e.path(e.conf))...)
	cmd.Env = append(os.Environ(), "TEMPORAL_ADDRESS=127.0.0.1:1", "SHIVX_CONFIG=", "USER=ana", "SUDO_USER=")
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = 10 * time.Second // a service that is started must not hold what its starter said
	return cmd, said
}

// shivx runs a command to its end and returns what it said.
func (e *estate) shivx(t *testing.T, args ...string) (said string, code int) {
	t.Helper()
	cmd, out := e.command(args...)
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("shivx %v: %v\n%s", args, err, out)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// must runs a command that must succeed.
func (e *estate) must(t *testing.T, args ...string) string {
	t.Helper()
	said, code := e.shivx(t, args...)
	require.Zero(t, code, "shivx %v:\n%s", args, said)
	return said
}

// killed runs a command and kills its process after a time; false when it was done before.
func (e *estate) killed(t *testing.T, after time.Duration, args ...string) bool {
	t.Helper()
	cmd, _ := e.command(args...)
	require.NoError(t, cmd.Start())
	bomb := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	bomb.Stop()
	// A program that it was about to start has its open files, and so its locks, until the exec.
	stand.Await(t, 10*time.Second, "the locks of the killed process to be free",
		func(context.Context) bool { return !ledger.InUse(e.path("var/shivx/" + config.OperationalLedger)) })
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signaled()
}

// goldens are the ids of the goldens in the store, the oldest first; each must be whole as far as a list sees it.
func (e *estate) goldens(t *testing.T) (ids []string) {
	t.Helper()
	cmd, out := e.command("golden", "list", "-o", "json")
	cmd.Stderr = nil
	require.NoError(t, cmd.Run(), out.String())
	var list []struct {
		shivx.GoldenInfo
		Error string `json:"error"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &list), out.String())
	for _, g := range list {
		require.Empty(t, g.Error, "golden %s", g.ID)
		ids = append(ids, g.ID)
	}
	slices.Reverse(ids)
	return ids
}

// sound requires that the ledger and every byte of the store verify.
func (e *estate) sound(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(e.path("var/shivx/" + config.OperationalLedger)); err == nil {
		e.must(t, "ledger", "verify")
	}
	e.must(t, "golden", "scrub")
}

// tidy requires that nothing is left over of commands that were cut off.
func (e *estate) tidy(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{
		"etc/.shivx-*", "srv/.shivx-*", "etc/shop/.shivx-*", "srv/shop/.shivx-*", "store/golden/tmp/*", "store/golden/quarantine",
		"var/shivx/recovery/golden/exports/*/*", "var/shivx/recovery/golden/restores/*.journal", "var/shivx/recovery/golden/restores/*.services",
		"var/shivx/recovery/golden/restores/*.holds",
	} {
		left, err := filepath.Glob(e.path(pattern))
		require.NoError(t, err)
		require.Empty(t, left, pattern)
	}
}

func (e *estate) pid() int {
	data, _ := os.ReadFile(e.path("run/pid"))
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 1 << 30 // nobody's
	}
	return pid
}

// serves requires that the service comes to run with a state in both paths, and once only.
func (e *estate) serves(t *testing.T, word string) {
	t.Helper()
	var loaded []byte
	var pids []int
	want := strings.Repeat(word+"\n", 2)
	for range 2000 {
		loaded, _ = os.ReadFile(e.path("run/loaded"))
		if pids = e.processes(); string(loaded) == want && len(pids) == 1 && pids[0] == e.pid() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("the service does not run with %q: it has read %q, its pid is %d, and these run: %v", word, loaded, e.pid(), pids)
}

// processes are those of the service, and all that they have started.
func (e *estate) processes() (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range paths {
		environ, _ := os.ReadFile(p)
		if bytes.Contains(environ, []byte("SHIVX_COMPONENT=shop@estate:"+e.dir+"/")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			pids = append(pids, pid)
		}
	}
	return pids
}
