package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/testenv"
)

// openTerminal opens a pseudo-terminal of 60 columns and returns its far end, and what is printed on it.
func openTerminal(t *testing.T, rows uint16) (*os.File, *lines) {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		testenv.Missing(t, "needs pseudo-terminals: "+err.Error())
	}
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	far, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: 60}); err != nil {
		t.Fatal(err)
	}
	printed := newLines()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(printed, near) // ends with EIO when the far end is closed
	}()
	t.Cleanup(func() {
		_ = far.Close()
		<-read
		_ = near.Close()
	})
	return far, printed
}

var control = regexp.MustCompile(`\x1b\[([0-9;]*)([A-Za-z])`)

// shown is what a terminal shows after text was printed: it knows line ends, the cursor going up,
// and clearing.
func shown(t *testing.T, text string) []string {
	t.Helper()
	screen, row := []string{""}, 0
	for text != "" {
		if at := control.FindStringSubmatchIndex(text); at != nil && at[0] == 0 {
			switch arg, what := text[at[2]:at[3]], text[at[4]:at[5]]; what {
			case "A":
				n, err := strconv.Atoi(arg)
				if err != nil || n > row {
					t.Fatalf("the cursor goes up %s lines in line %d", arg, row)
				}
				row -= n
			case "J":
				screen = append(screen[:row:row], "")
			case "K", "m":
			default:
				t.Fatalf("unknown control %q", text[:at[1]])
			}
			text = text[at[1]:]
			continue
		}
		switch text[0] {
		case '\r':
		case '\n':
			if row++; row == len(screen) {
				screen = append(screen, "")
			}
		default:
			screen[row] += text[:1]
		}
		text = text[1:]
	}
	return screen
}

// onTerminal runs a command on a terminal and returns all that it printed. Once it has printed
// mark, meanwhile is called.
func onTerminal(t *testing.T, rows uint16, mark string, meanwhile func(), args ...string) (int, string) {
	t.Helper()
	far, printed := openTerminal(t, rows)
	done := make(chan int, 1)
	go func() { done <- run(args, strings.NewReader(""), far, far) }()
	if mark != "" {
		printed.await(t, mark)
		meanwhile()
	}
	code := <-done
	if _, err := fmt.Fprintln(far, "END"); err != nil {
		t.Fatal(err)
	}
	printed.await(t, "END")
	text, _, _ := strings.Cut(printed.String(), "END")
	return code, text
}

func TestHealOnATerminalDrawsOneTable(t *testing.T) {
	w := needServer(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	// The recovery goes on when the table was drawn for the second time.
	code, text := onTerminal(t, 24, "\x1b[J", func() { testenv.WriteFile(t, w.file("slow", "go"), "") }, "heal", "slow")
	if code != exitOK {
		t.Fatalf("exit code %d: %q", code, text)
	}
	if !strings.Contains(text, "\x1b[36m▶\x1b[0m") {
		t.Errorf("no coloured mark of a step under way: %q", text)
	}
	screen := shown(t, text)
	got := strings.Join(screen, "\n")
	for _, step := range []string{"isolate", "checkpoint", "recover", "validate", "reintegrate", "log", "slow@here: healed in"} {
		if n := strings.Count(got, step); n != 1 {
			t.Errorf("%q is shown %d times:\n%s", step, n, got)
		}
	}
	if strings.Contains(got, "▶") {
		t.Errorf("something is still under way:\n%s", got)
	}
	for _, l := range screen {
		if width(l) > 60 && !strings.HasPrefix(l, "slow@here") {
			t.Errorf("too long for the terminal: %q", l)
		}
	}
}

func TestLowTerminal(t *testing.T) {
	w := needServer(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	testenv.WriteFile(t, w.file("slow", "go"), "")
	code, text := onTerminal(t, 5, "", nil, "heal", "slow")
	if code != exitOK || strings.Contains(text, "\x1b[3") {
		t.Errorf("exit code %d, or colours in spite of NO_COLOR: %q", code, text)
	}
	if n := len(shown(t, text)); n > 4+2 {
		t.Errorf("%d lines drawn on a terminal of 5", n)
	}
}

func TestColoursOnATerminalOnly(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	for _, c := range []struct {
		term   string
		args   []string
		colour bool
	}{
		{"xterm", []string{"plugin", "list"}, true},
		{"xterm", []string{"plugin", "list", "--no-color"}, false},
		{"dumb", []string{"plugin", "list"}, false},
		{"xterm", []string{"status"}, true},
	} {
		t.Setenv("TERM", c.term)
		_, text := onTerminal(t, 24, "", nil, c.args...)
		if got := strings.Contains(text, "\x1b["); got != c.colour {
			t.Errorf("TERM=%s %v: colours: %t: %q", c.term, c.args, got, text)
		}
		if c.args[0] == "plugin" {
			for _, l := range shown(t, text) {
				if width(l) > 60 {
					t.Errorf("too long for the terminal: %q", l)
				}
			}
		}
	}
	if r := shivxRun("plugin", "list"); strings.Contains(r.out, "\x1b") {
		t.Errorf("colours without a terminal: %q", r.out)
	}
}
