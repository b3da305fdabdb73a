package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx"
)

func TestGoldenAsksOnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	s := newSite(t, "")
	s.want(exitOK, nil, "backup", "site", "--local")
	s.put("srv/index.html", "defaced")
	args := []string{"golden", "restore", "site", "--local", "--config", s.conf}
	code, text := onTerminal(t, 24, "", nil, args...)
	if code != exitRefused || !strings.Contains(text, "Replace site by its golden") || !strings.Contains(text, "nothing was changed") {
		t.Errorf("exit code %d: %s", code, text)
	}
	s.holds("srv/index.html", "defaced")
	far, _ := openTerminal(t, 24)
	if code := run(args, strings.NewReader("y\n"), far, far); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	s.holds("srv/index.html", strings.Repeat("<p>hello\n", 2000))
}

// TestGoldenProgress: a line on a terminal, above which the steps stand, and lines of JSON for programs.
func TestGoldenProgress(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	far, printed := openTerminal(t, 24)
	a := &app{out: newScreen(far), err: newScreen(far), output: "table"}
	a.out.colour = false
	l := &localGolden{}
	done := a.showProgress(l)
	l.tell(shivx.GoldenProgress{Step: shivx.GoldenStepTake, Bytes: 50 << 20, BytesTotal: 100 << 20, Files: 7, Rate: 10 << 20})
	printed.await(t, " 50 % of")
	a.toldStep(shivx.GoldenStepReport{Name: shivx.GoldenStepTake, Outcome: shivx.StepDone, Summary: "is done"})
	done()
	if _, err := fmt.Fprintln(far, "END"); err != nil {
		t.Fatal(err)
	}
	printed.await(t, "END")
	text := printed.String()
	for _, part := range []string{"take     [", "\r\x1b[K", "✓ take"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in %q", part, text)
		}
	}
	if got := l.text(); !strings.Contains(got, "/s, 5s left, 7 files") {
		t.Errorf("the line: %q", got)
	}
	lines := newLines()
	a = &app{out: newScreen(io.Discard), err: newScreen(lines), output: "json"}
	done = a.showProgress(l)
	lines.await(t, `{"progress":{"step":"take","bytes":52428800`)
	done()
}

// TestGoldenSurvivesItsTerminal: a restore whose terminal goes away, or whose output nobody reads, goes on.
func TestGoldenSurvivesItsTerminal(t *testing.T) {
	s := newSite(t, "")
	s.want(exitOK, nil, "backup", "site", "--local")
	for range 3 {
		s.put("srv/index.html", "defaced")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(os.Args[0], "golden", "restore", "site", "--local", "--yes", "--config", s.conf)
		c.Args[0] = "shivx" // as which the test binary is that program
		c.Stdout = w
		_ = r.Close()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended: %v", err)
			}
		case <-time.After(time.Minute):
			_ = c.Process.Kill()
			t.Fatal("it hangs")
		}
		s.holds("srv/index.html", strings.Repeat("<p>hello\n", 2000))
	}
}
