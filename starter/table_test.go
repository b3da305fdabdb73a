package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestCleanShowsWhatWouldDriveTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":             "plain text",
		"Grüße, 世界 👩‍🚀":          "Grüße, 世界 👩‍🚀",
		"\x1b[2J\x07bell":        `\x1b[2J\x07bell`,
		"c1 \u009b31m":           `c1 \x9b31m`,
		"two\nlines\tand\rmore":  "two lines and more",
		"turned \u202e\u2066":    `turned \u202e\u2066`,
		"broken \xff\xc3 utf-8":  `broken \xff\xc3 utf-8`,
		"tag \U000e0041 is hid":  `tag \ue0041 is hid`,
		"delete \x7f and \u00ad": `delete \x7f and \xad`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzCut(f *testing.F) {
	for _, s := range []string{"", "abc", "世界世界", "e\u0301e\u0301e\u0301", "a👩‍🚀b", "\xff\xfe", "\x1b[31m"} {
		for w := range 7 {
			f.Add(s, w)
		}
	}
	f.Fuzz(func(t *testing.T, s string, w int) {
		s, w = clean(s), w%50
		got := cut(s, w)
		if !utf8.ValidString(got) {
			t.Fatalf("cut(%q, %d) = %q is no text", s, w, got)
		}
		if w >= 0 && width(got) > w {
			t.Fatalf("cut(%q, %d) = %q takes %d columns", s, w, got, width(got))
		}
		if w >= width(s) && got != s {
			t.Fatalf("cut(%q, %d) = %q", s, w, got)
		}
		for _, r := range got {
			if unsafeRune(r) {
				t.Fatalf("%q holds %q", got, r)
			}
		}
	})
}

func TestJSONKeepsItsMeaningWithoutControlCharacters(t *testing.T) {
	const evil = "\x1b[31m \u009b \u202e \U000e0041 <&> 世界"
	var b bytes.Buffer
	a := &app{out: screen{w: &b, fd: -1}}
	if err := a.document(map[string]string{"text": evil}); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if unsafeRune(r) && r != '\n' {
			t.Errorf("the document holds %q", r)
		}
	}
	var back map[string]string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["text"] != evil {
		t.Errorf("read back %q, %v", back["text"], err)
	}
}

func TestTableKeepsToTheWidth(t *testing.T) {
	var b bytes.Buffer
	s := screen{w: &b, fd: -1}
	tab := table{head: []string{"NAME", "EMPTY", "WHAT"}}
	tab.add(cells("redis", "", "a long explanation of what was done to it")...)
	tab.add(cells("データベース", "", "short")...)
	for _, columns := range []string{"20", "40", ""} {
		t.Setenv("COLUMNS", columns)
		b.Reset()
		s.table(tab)
		got := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(got) != 3 {
			t.Fatalf("%d lines: %q", len(got), got)
		}
		for _, l := range got {
			if columns == "20" && width(l) > 20 || columns == "40" && width(l) > 40 {
				t.Errorf("COLUMNS=%s: %q takes %d columns", columns, l, width(l))
			}
		}
		if cutOff := strings.Contains(got[1], "…"); cutOff != (columns != "") {
			t.Errorf("COLUMNS=%s: cut is %t: %q", columns, cutOff, got[1])
		}
		if strings.Contains(got[0], "EMPTY") {
			t.Errorf("an empty column is shown: %q", got[0])
		}
		if at, want := strings.Index(got[0], "WHAT"), "short"; columns == "" && width(got[2][:strings.Index(got[2], want)]) != at {
			t.Errorf("columns are not aligned:\n%s", b.String())
		}
	}
}

func TestFreeTextIsCutFirst(t *testing.T) {
	t.Setenv("COLUMNS", "50")
	var b bytes.Buffer
	s := screen{w: &b, fd: -1}
	tab := table{free: []int{1}}
	tab.add(cells("self-heal/redis@db1", "three words here and many more behind them")...)
	s.table(tab)
	if got := b.String(); !strings.HasPrefix(got, "self-heal/redis@db1  three words here") || width(got) != 50+1 {
		t.Errorf("printed %q", got)
	}
}

func TestTableShowsEveryRowWithoutAHead(t *testing.T) {
	var b bytes.Buffer
	s := screen{w: &b, fd: -1}
	tab := table{}
	tab.add(cells("a", "", "c")...)
	s.lines(tab.render(&s, false))
	if got := b.String(); got != "a  c\n" {
		t.Errorf("printed %q", got)
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", 1234567 * time.Nanosecond: "1ms", 12340 * time.Millisecond: "12.3s", 90 * time.Minute: "1h30m", 50 * time.Hour: "2d02h",
	} {
		if got := took(d); got != want {
			t.Errorf("took(%d) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 0: "0s"} {
		if got := short(d); got != want {
			t.Errorf("short(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestBar(t *testing.T) {
	for done, want := range map[int64]string{0: "  0 %", 50: " 50 %", 100: "100 %", 150: "100 %"} {
		if got := bar(done, 100); !strings.Contains(got, want) || width(got) != width(bar(0, 100)) {
			t.Errorf("bar(%d, 100) = %q", done, got)
		}
	}
}
