package health

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

func commandCheck(argv ...string) config.Check {
	return config.Check{Command: &config.Command{Argv: argv}}
}

func TestCommandCheck(t *testing.T) {
	sh := testenv.Need(t, "sh")[0]
	cases := []struct {
		name string
		c    config.Check
		want string
	}{
		{"true", commandCheck(sh, "-c", "exit 0"), ""},
		{"exit code and output", commandCheck(sh, "-c", "echo broken >&2; exit 7"), `sh exited with 7: "broken"`},
		{"silent", commandCheck(sh, "-c", "exit 1"), "sh exited with 1"},
		{"signal", commandCheck(sh, "-c", "kill -9 $$"), "sh: signal: killed"},
		{"absent", commandCheck("/absent/program", "--password=hunter2"), "program cannot be started: no such file or directory"},
		{"not on the path", commandCheck("no-such-program-here"), "no-such-program-here cannot be started: executable file not found in $PATH"},
		{"arguments stay secret", commandCheck(sh, "-c", "exit 3 # hunter2"), "sh exited with 3"},
		{"long output", commandCheck(sh, "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo the end; exit 1"), `sh exited with 1: "…xxx*xxxthe end"`},
	}
	for _, c := range cases {
		expect(t, c.name, check(t, c.c), c.want)
	}
	env := config.Check{Command: &config.Command{Argv: []string{sh, "-c", `test "$A" = b && test "$PWD" = /usr`}, Dir: "/usr", Env: map[string]string{"A": "b"}}}
	expect(t, "environment and folder", check(t, env), "")
}

// TestCommandCheckLeavesNothingBehind: one that hangs, one that ends and one that floods each
// leave a child that must not outlive the check.
func TestCommandCheckLeavesNothingBehind(t *testing.T) {
	sh := testenv.Need(t, "sh", "sleep")[0]
	for name, ending := range map[string]string{"hangs": "wait", "ends": "exit 0", "floods": "exec yes", "ignores": "trap '' TERM INT; wait"} {
		t.Run(name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pids")
			// A child and a grandchild, both holding the output.
			script := "sleep 1000 & echo $! >" + pidFile + "; (sleep 1000 & echo $! >>" + pidFile + "; wait) & " +
				"while [ $(wc -l <" + pidFile + ") -lt 2 ]; do :; done; " + ending
			c := commandCheck(sh, "-c", script)
			c.Timeout = 500 * time.Millisecond
			began := time.Now()
			got := check(t, c)
			if took := time.Since(began); took > c.Timeout+afterKill {
				t.Errorf("took %s", took)
			}
			want := "sh: no answer within 500ms, killed*"
			if name == "ends" {
				want = ""
			}
			expect(t, name, got, want)
			data, err := os.ReadFile(pidFile)
			if err != nil {
				t.Fatal(err)
			}
			pids := strings.Fields(string(data))
			if len(pids) != 2 {
				t.Fatalf("children %q", pids)
			}
			for _, p := range pids {
				pid, _ := strconv.Atoi(p)
				await(t, "the end of child "+p, func() bool {
					s, err := readStat(defaultProc, pid)
					return err != nil || s.dead() || s.comm != "sleep"
				})
			}
		})
	}
}

func TestCommandOwnTimeout(t *testing.T) {
	sleep := testenv.Need(t, "sleep")[0]
	c := commandCheck(sleep, "1000")
	c.Command.Timeout = 30 * time.Millisecond
	expect(t, "own timeout", check(t, c), "sleep: no answer within 30ms, killed")
}

func TestTailKeepsTheEnd(t *testing.T) {
	out := &tail{}
	for i := range 10000 {
		_, _ = out.Write([]byte(strconv.Itoa(i) + " "))
	}
	if len(out.buf) != maxOutput || !strings.HasSuffix(string(out.buf), "9998 9999 ") {
		t.Errorf("%d bytes, ends with %q", len(out.buf), out.buf[len(out.buf)-10:])
	}
	_, _ = out.Write(make([]byte, 3*maxOutput))
	if len(out.buf) != maxOutput {
		t.Errorf("%d bytes after a large write", len(out.buf))
	}
}

// await polls for what the test itself cannot be told of.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
