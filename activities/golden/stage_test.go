package golden_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	goldenacts "github.com/shivx/shivx/activities/golden"
	"github.com/shivx/shivx/internal/config"
	engine "github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/health"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/plugins/builtin"
	"github.com/shivx/shivx/plugins/host"
)

// The host has one service, which copies its file when it starts and is healthy once it has and that says so. It
// does not start where the file says "dead".
const hostConfig = `
version: 1
host: here
api: {listen: "off"}
paths: {var: DIR/var}
components:
  - name: shop
    checks: [{command: {argv: [grep, -q, good, DIR/run/loaded]}}]
    ladder: [{name: restart, use: process, with: {start: [/bin/sh, DIR/serve], pid_file: DIR/run/pid, stop_timeout: 1s, start_grace: 200ms}}]
    validate: {window: 0s, every: 20ms, settle: 100ms}
golden:
  store: {path: DIR/store}
  sets:
    - name: shop
      paths: [DIR/srv]
      services: [shop]
      validate: [{match: "/**/*.json", format: json}]
`

const serve = `rm -f DIR/run/loaded
grep -q dead DIR/srv/state && exit 3
echo $$ > DIR/run/pid.new && mv DIR/run/pid.new DIR/run/pid &&
	cp DIR/srv/state DIR/run/loading && mv DIR/run/loading DIR/run/loaded && exec sleep 600
`

// stage is a host in a folder, with all that the steps need.
type stage struct {
	dir    string
	cfg    *config.Config
	acts   *goldenacts.Activities
	ledger *ledger.Ledger
	close  func() error
}

// makeStage writes a host with a running service.
func makeStage(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	put := func(name, content string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(content, "DIR", dir)), 0o644))
	}
	put("shivx.yaml", hostConfig)
	put("serve", serve)
	put("run/loaded", "")
	fill(t, dir, "good 1")
	s, err := openStage(dir)
	require.NoError(t, err)
	t.Cleanup(func() {
		s.stopService(t)
		require.NoError(t, s.close())
	})
	s.start(t, 1, "good 1")
	return s
}

// fill gives the tree a state.
func fill(t *testing.T, dir, word string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "srv")))
	for i := range 30 {
		path := filepath.Join(dir, "srv", fmt.Sprint("d", i%3), fmt.Sprint("f", i))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(strings.Repeat(word+"\n", 1+i*100)), 0o644))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "srv/state"), []byte(word), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "srv/conf.json"), []byte(`{"word": "`+word+`"}`), 0o644))
}

// openStage opens a host as a process of its own does.
func openStage(dir string) (*stage, error) {
	cfg, err := config.Load(filepath.Join(dir, "shivx.yaml"), builtin.Known())
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	e, err := engine.Configured(cfg, log)
	if err != nil {
		return nil, err
	}
	led, err := ledger.Open(filepath.Join(cfg.Paths.Var, config.OperationalLedger), ledger.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	plugins := host.New(builtin.All(builtin.Options{}), host.Specs(cfg), log)
	monitor, err := health.NewMonitor(cfg.Host, cfg.Components, health.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, cfg: cfg, ledger: led}
	s.acts = &goldenacts.Activities{Config: cfg, Engine: e, Checks: monitor, Plugins: plugins, Ledger: led, Logger: log}
	s.close = sync.OnceValue(func() error {
		plugins.Close()
		if err := e.Close(); err != nil {
			return err
		}
		return led.Close()
	})
	return s, nil
}

func (s *stage) target() shivx.GoldenTarget { return shivx.GoldenTarget{Set: "shop", Host: "here"} }

func (s *stage) service(attempt int) activities.ServiceInput {
	return activities.ServiceInput{GoldenTarget: s.target(), Run: "test", Restore: "test", Service: "shop", Attempt: attempt, Timeout: shivx.Duration(20 * time.Second)}
}

func (s *stage) take(t *testing.T, name string) shivx.GoldenInfo {
	t.Helper()
	r, err := s.acts.TakeGolden(t.Context(), activities.TakeGoldenInput{GoldenTarget: s.target(), Run: "take " + name, Kind: shivx.GoldenKindBackup, Name: name})
	require.NoError(t, err)
	return r.Golden
}

// start starts the service and waits until it is up; attempts have different numbers.
func (s *stage) start(t *testing.T, attempt int, word string) {
	t.Helper()
	_, err := s.acts.StartService(t.Context(), s.service(attempt))
	require.NoError(t, err)
	s.runs(t, word)
}

// runs fails unless the service comes to run with a state, and only once. That it was started does not mean
// that it is up yet: a start is watched for a moment only, and the rest is left to the health checks.
func (s *stage) runs(t *testing.T, word string, msg ...any) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, word, s.loaded())
		assert.Equal(c, []int{s.pid()}, s.processes(), "the processes of the service")
	}, 20*time.Second, 5*time.Millisecond, msg...)
}

// loaded is what the service that runs has read; "" when none does.
func (s *stage) loaded() string {
	if !s.alive() {
		return ""
	}
	data, err := os.ReadFile(filepath.Join(s.dir, "run/loaded"))
	if err != nil {
		return ""
	}
	return string(data)
}

// processes are those of the service, and all that they have started.
func (s *stage) processes() []int {
	var pids []int
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range paths {
		environ, _ := os.ReadFile(p)
		if strings.Contains(string(environ), "SHIVX_COMPONENT=shop@here:"+s.dir+"/") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (s *stage) pid() int {
	data, err := os.ReadFile(filepath.Join(s.dir, "run/pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

func (s *stage) alive() bool {
	pid := s.pid()
	if pid == 0 {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func (s *stage) stopService(t *testing.T) {
	if s.alive() {
		require.NoError(t, syscall.Kill(s.pid(), syscall.SIGKILL))
	}
	require.Eventually(t, func() bool { return !s.alive() }, 10*time.Second, time.Millisecond)
}

// word is the state that the whole tree is in; a mixture is "".
func (s *stage) word(t *testing.T) string {
	t.Helper()
	word, files := "", 0
	require.NoError(t, filepath.WalkDir(filepath.Join(s.dir, "srv"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan(); {
			line := sc.Text()
			if d.Name() == "conf.json" {
				var c struct{ Word string }
				if err := json.Unmarshal([]byte(line), &c); err != nil {
					return err
				}
				line = c.Word
			}
			if word != "" && line != word {
				return fmt.Errorf("a mixture: %s says %q and not %q", path, line, word)
			}
			word = line
		}
		return nil
	}))
	require.Equal(t, 32, files)
	return word
}

// left lists what a restore has left on the disk.
func (s *stage) left(t *testing.T) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{".shivx-restore-*", "srv/.shivx-restore-*", "var/recovery/golden/restores/*.services", "var/recovery/golden/restores/*.journal"} {
		paths, err := filepath.Glob(filepath.Join(s.dir, pattern))
		require.NoError(t, err)
		left = append(left, paths...)
	}
	return left
}

func (s *stage) local(told func(shivx.GoldenStepReport)) *goldenacts.Local {
	if told == nil {
		told = func(shivx.GoldenStepReport) {}
	}
	return &goldenacts.Local{Activities: s.acts, Told: told}
}

// reopen is another process after this one has ended.
func (s *stage) reopen(t *testing.T) *stage {
	t.Helper()
	require.NoError(t, s.close())
	next, err := openStage(s.dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, next.close()) })
	return next
}
