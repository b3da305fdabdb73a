package peers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/ledger"
)

const (
	// linesRounds of each program, in turn; the best counts, as the machine does other things, too.
	linesRounds = 3
	// linesOfFail2ban is how many lines fail2ban-regex is given: it needs seconds for these.
	linesOfFail2ban = 40_000
	// sshguardParser is where Debian has the parser of SSHGuard.
	sshguardParser = "/usr/libexec/sshguard/sshg-parser"

	// The aims, in lines per second and core.
	sshdAim = 750_000
	jsonAim = 300_000
)

// linesCase is one log that is read.
type linesCase struct {
	format string
	lines  int
	grow   func(*logMaker)
	aim    float64
	// filter of fail2ban that is for this log, "" when it has none; sshguard says whether SSHGuard reads it.
	filter   string
	sshguard bool
}

var linesCases = []linesCase{
	{format: "sshd", lines: 400_000, grow: growAuth, aim: sshdAim, filter: "sshd", sshguard: true},
	{format: "nginx-access", lines: 300_000, grow: growNginx, filter: "nginx-botsearch", sshguard: true},
	{format: "caddy", lines: 150_000, grow: growCaddy, aim: jsonAim},
	{format: "traefik", lines: 150_000, grow: growTraefik, aim: jsonAim},
}

// TestBenchGuardianLines measures the full path of a log's lines: read, parse, detect, decide; by the
// time that a program has a CPU. Beside it stand fail2ban-regex, which detects and decides nothing, and
// the parser of SSHGuard, which only names the sources; both read the same lines.
func TestBenchGuardianLines(t *testing.T) {
	for _, c := range linesCases {
		t.Run(c.format, func(t *testing.T) {
			rows := linesRows(t, c)
			best := make([]time.Duration, len(rows))
			for range linesRounds {
				for i, r := range rows {
					if cpu := r.run(); best[i] == 0 || cpu < best[i] {
						best[i] = cpu
					}
				}
			}
			t.Logf("%s, %d lines; the best of %d rounds; load average %s", c.format, c.lines, linesRounds, loadAverage())
			speed := func(i int) float64 { return float64(rows[i].lines) / best[i].Seconds() }
			for i, r := range rows {
				t.Logf("  %-34s %9.0f lines per CPU-second   ShivX live is %7.2f times that   %s", r.name, speed(i), speed(0)/speed(i), *r.said)
			}
			if speed(0) < c.aim {
				t.Errorf("%.0f lines of %s per second and core, aim %.0f", speed(0), c.format, c.aim)
			}
		})
	}
}

func loadAverage() string {
	load, _ := os.ReadFile("/proc/loadavg")
	return string(bytes.TrimSpace(load[:min(14, len(load))]))
}

// linesRow is one program; run returns the time it had a CPU, and said tells what it made of the lines.
type linesRow struct {
	name  string
	lines int
	run   func() time.Duration
	said  *string
}

func linesRows(t *testing.T, c linesCase) []linesRow {
	t.Helper()
	now := time.Now().UTC()
	path := makeLog(t, c.lines, now, c.grow)
	rows := []linesRow{liveRow(t, c, path), replayRow(t, c, path, now)}
	if tool, err := exec.LookPath("fail2ban-regex"); err != nil {
		t.Log("fail2ban-regex is not measured: not installed (apt-get install fail2ban)")
	} else if c.filter != "" {
		rows = append(rows, fail2banRow(t, tool, c, path))
	}
	if _, err := os.Stat(sshguardParser); err != nil {
		t.Log("SSHGuard's parser is not measured: not installed (apt-get install sshguard)")
	} else if c.sshguard {
		rows = append(rows, sshguardRow(t, c, path))
	}
	return rows
}

// liveRow is a guardian that follows the file, with its audit, and no enforcer but its own memory.
func liveRow(t *testing.T, c linesCase, path string) linesRow {
	said := new(string)
	return linesRow{name: "ShivX, live", lines: c.lines, said: said, run: func() time.Duration {
		rules := config.Default().Guardian
		rules.StaleAfter = 2 * logSpan // so that what is old isolates as well
		rules.Logs = []config.Log{{Name: "log", File: path, Format: c.format, FromStart: true}}
		before := ownCPU(t)
		g, stop := startGuardian(t, t.TempDir(), rules)
		for {
			s := g.Brief()
			if s.Logs[0].Lines == uint64(c.lines) && s.Unrecorded == 0 {
				*said = fmt.Sprintf("%d events, %d threats, %d isolated", s.Logs[0].Events, s.Threats.Total, s.Isolated)
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		cpu := ownCPU(t) - before
		stop()
		return cpu
	}}
}

// startGuardian runs a guardian on its files in dir until stop.
func startGuardian(t *testing.T, dir string, rules config.Guardian) (g *guardian.Guardian, stop func()) {
	t.Helper()
	path, log := filepath.Join(dir, filepath.Base(config.GuardianAudit)), slog.New(slog.DiscardHandler)
	audit, err := ledger.Open(path, ledger.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	g, err = guardian.New(guardian.Options{Host: "web1", Rules: rules, Ledger: audit, LedgerPath: path, Dir: dir, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	return g, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := audit.Close(); err != nil {
			t.Error(err)
		}
	}
}

// replayRow is what shivx guardian replay does, which also prints each failure and decision.
func replayRow(t *testing.T, c linesCase, path string, now time.Time) linesRow {
	said := new(string)
	return linesRow{name: "ShivX, replay with its output", lines: c.lines, said: said, run: func() time.Duration {
		before := ownCPU(t)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		s, err := guardian.Replay(f, io.Discard, guardian.ReplayOptions{Log: config.Log{Format: c.format}, Rules: config.Default().Guardian, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		*said = fmt.Sprintf("%d events, %d failures, %d decisions, %d isolated", s.Events, s.Failures, s.Decisions, s.Isolated)
		return ownCPU(t) - before
	}}
}

var fail2banCount = regexp.MustCompile(`Lines: \d+ lines, \d+ ignored, (\d+) matched`)

// fail2banRow leaves out of fail2ban-regex what fail2ban itself does not do: trying all patterns of a line
// that has matched, and keeping the lines that have not; and its start, by what a single line takes.
func fail2banRow(t *testing.T, tool string, c linesCase, path string) linesRow {
	t.Helper()
	said := new(string)
	run := func(lines int) func() time.Duration {
		file := firstLines(t, path, lines)
		return func() time.Duration {
			cmd := exec.Command(tool, "--no-check-all", "--print-no-missed", "--print-no-ignored", file, c.filter)
			out, err := cmd.Output()
			if err != nil && cmd.ProcessState.ExitCode() > 1 {
				t.Fatalf("fail2ban-regex: %v\n%s", err, out)
			}
			if m := fail2banCount.FindSubmatch(out); m != nil {
				*said = fmt.Sprintf("%s of %d lines matched", m[1], lines)
			}
			return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
	}
	one, many := run(1), run(linesOfFail2ban)
	return linesRow{name: "fail2ban-regex, " + c.filter, lines: linesOfFail2ban, said: said, run: func() time.Duration {
		start := one()
		return many() - start
	}}
}

// firstLines copies the first n lines of a log.
func firstLines(t *testing.T, path string, n int) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := 0
	for range n {
		end += bytes.IndexByte(data[end:], '\n') + 1
	}
	first := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(first, data[:end], 0o600); err != nil {
		t.Fatal(err)
	}
	return first
}

func sshguardRow(t *testing.T, c linesCase, path string) linesRow {
	said := new(string)
	return linesRow{name: "SSHGuard's parser alone", lines: c.lines, said: said, run: func() time.Duration {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = out.Close() }()
		cmd := exec.Command(sshguardParser)
		cmd.Stdin, cmd.Stdout = f, out
		if err := cmd.Run(); err != nil {
			t.Fatalf("sshg-parser: %v", err)
		}
		found, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		*said = fmt.Sprintf("%d attacks named", bytes.Count(found, []byte("\n")))
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}}
}
