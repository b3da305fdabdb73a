package health

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx"
)

var update = flag.Bool("update", false, "write testdata/detector/*/findings.txt anew")

// epoch is when the samples' times begin, so that an ID shows the offset in nanoseconds.
var epoch = time.Unix(0, 0).UTC()

// TestDetector plays testdata/detector/CASE/samples.txt and compares what is found with findings.txt.
func TestDetector(t *testing.T) {
	files, err := filepath.Glob("testdata/detector/*/samples.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			got := play(t, file)
			golden := filepath.Join(filepath.Dir(file), "findings.txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("found:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func play(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var d *detector
	var out strings.Builder
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "component":
			d = parseComponent(t, words[1:])
		case words[1] == "state":
			fmt.Fprintf(&out, "%s state %s%s\n", words[0], d.state(), since(d))
		default:
			s := parseSample(t, words)
			if found, ok := d.observe(s); ok {
				out.WriteString(show(words[0], found))
			}
		}
	}
	return out.String()
}

func since(d *detector) string {
	if d.since.IsZero() {
		return ""
	}
	return " since " + d.since.Sub(epoch).String()
}

func show(at string, f shivx.Finding) string {
	end := ""
	if f.Resolved {
		end = " resolved"
	}
	return fmt.Sprintf("%s %s %s %s %s%s %s\n    %s\n", at, f.Target, f.Source, f.Signal, f.Severity, end, f.ID, f.Reason)
}

func parseComponent(t *testing.T, words []string) *detector {
	t.Helper()
	var failures int
	var remind time.Duration
	var checks []string
	critical := false
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "failures":
			failures, err = strconv.Atoi(value)
		case "remind":
			remind, err = time.ParseDuration(value)
		case "checks":
			checks = strings.Split(value, ",")
		case "critical":
			critical = true
		default:
			t.Fatalf("unknown word %q", w)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return newDetector(shivx.Target{Component: words[0], Host: "host"}, critical, failures, remind, checks)
}

// parseSample reads "TIME CHECK ok", "TIME CHECK fail REASON…" or "TIME CHECK gone INSTANCE REASON…".
func parseSample(t *testing.T, words []string) sample {
	t.Helper()
	offset, err := time.ParseDuration(words[0])
	if err != nil {
		t.Fatal(err)
	}
	s := sample{Result: Result{Check: words[1], At: epoch.Add(offset)}}
	switch words[2] {
	case "ok":
		s.Healthy = true
	case "fail":
		s.Error = strings.Join(words[3:], " ")
	case "gone":
		s.gone, s.Error = words[3], strings.Join(words[4:], " ")
	default:
		t.Fatalf("unknown word %q", words[2])
	}
	return s
}

// TestDetectorIDsAreUnique holds over every order of a few samples.
func TestDetectorIDsAreUnique(t *testing.T) {
	kinds := []string{"ok", "fail x", "gone 1.1 x", "gone 2.2 y"}
	const length = 6
	total := 1
	for range length {
		total *= len(kinds) * 2
	}
	for n := 0; n < total; n += 7 { // a prime stride samples the whole space
		d := newDetector(shivx.Target{Component: "c", Host: "h"}, false, 2, 3*time.Second, []string{"a", "b"})
		seen := map[string]bool{}
		for i, code := 0, n; i < length; i, code = i+1, code/(len(kinds)*2) {
			check, kind := "a", kinds[code%len(kinds)]
			if code/len(kinds)%2 == 1 {
				check = "b"
			}
			s := parseSample(t, strings.Fields(fmt.Sprintf("%ds %s %s", i, check, kind)))
			f, ok := d.observe(s)
			if ok && seen[f.ID] {
				t.Fatalf("sequence %d: the ID %s came twice", n, f.ID)
			}
			if ok && f.Resolved == (d.fault != nil) {
				t.Fatalf("sequence %d: resolved is %v and a fault is open: %v", n, f.Resolved, d.fault != nil)
			}
			seen[f.ID] = ok
		}
	}
}
