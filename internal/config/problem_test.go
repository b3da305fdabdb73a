package config

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shivx/shivx"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProblemString(t *testing.T) {
	p := Problem{File: "shivx.yaml", Line: 12, Column: 7, Message: `unknown key "chekcs"`, Hint: `did you mean "checks"?`}
	assert.Equal(t, `shivx.yaml:12:7: unknown key "chekcs"; did you mean "checks"?`, p.String())
	assert.Equal(t, "shivx.yaml: empty", Problem{File: "shivx.yaml", Message: "empty"}.String())
	assert.Equal(t, "a: b\nc: d", Errors{{File: "a", Message: "b"}, {File: "c", Message: "d"}}.Error())
}

func TestFormatReturnsTheWriterError(t *testing.T) {
	r, w := io.Pipe()
	broken := errors.New("broken pipe")
	require.NoError(t, r.CloseWithError(broken))
	err := Errors{{File: "f", Line: 1, Message: "m"}}.Format(w, []byte("x"))
	require.ErrorIs(t, err, broken)
}

func TestNearest(t *testing.T) {
	words := []string{"checks", "depends_on", "postgresql", "tcp", "every"}
	for word, want := range map[string]string{
		"chekcs": "checks", "check": "checks", "Checks": "checks", "dependsOn": "depends_on", "depends-on": "depends_on",
		"postgres": "postgresql", "pg": "", "tpc": "tcp", "evry": "every", "interval": "", "": "", "x": "",
	} {
		assert.Equal(t, want, nearest(word, words), word)
	}
}

func TestDurationHint(t *testing.T) {
	for text, want := range map[string]string{
		"10": `"10s"`, "5 sec": `"5s"`, "1m 30s": `"1m30s"`, "2 minutes": `"2m"`, "1d": `"24h"`, "1.5 hours": `"1.5h"`,
		"1h, 5m": `"1h5m"`, "soon": "", "10 parsecs": "", "": "",
	} {
		hint := durationHint(text)
		assert.Contains(t, hint, "durations are written as")
		assert.Equal(t, want != "", strings.HasPrefix(hint, "write "+want+":"), "%q: %s", text, hint)
	}
}

func TestResolve(t *testing.T) {
	t.Setenv("SHIVX_TEST_SECRET", "s3cret")
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte("from file\r\n"), 0o600))
	for ref, want := range map[string]string{
		"plain": "plain", "": "", "env:SHIVX_TEST_SECRET": "s3cret", "file:" + path: "from file", "redis://h": "redis://h",
	} {
		got, err := Resolve(ref)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}

	_, err := Resolve("env:SHIVX_TEST_UNSET")
	require.EqualError(t, err, "resolve env:SHIVX_TEST_UNSET: the environment variable is not set")
	assert.Contains(t, shivx.HintOf(err), "SHIVX_TEST_UNSET")
	_, err = Resolve("file:" + path + "x")
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.NotEmpty(t, shivx.HintOf(err))
}

// TestPlacesPointAtTheirWords holds for every key and scalar of the full example.
func TestPlacesPointAtTheirWords(t *testing.T) {
	source, err := os.ReadFile("testdata/full/shivx.yaml")
	require.NoError(t, err)
	lines := strings.Split(string(source), "\n")
	var walk func(n *node)
	count := 0
	walk = func(n *node) {
		if n.kind != kindList && n.kind != kindMap {
			count++
			rest := string([]rune(lines[n.line-1])[n.col-1:])
			if rest[0] == '"' || rest[0] == '\'' {
				rest = rest[1:]
			}
			first, _, _ := strings.Cut(n.text, "\r")
			assert.True(t, strings.HasPrefix(rest, first), "%d:%d: %q is not at %q", n.line, n.col, n.text, rest)
		}
		for _, item := range n.items {
			walk(item)
		}
		for _, p := range n.pairs {
			walk(p.key)
			walk(p.value)
		}
	}
	walk(readTree(newReport("full"), source))
	assert.Greater(t, count, 200)
}

func TestFileTooLarge(t *testing.T) {
	_, err := Parse("shivx.yaml", bytes.Repeat([]byte("#"), maxFile+1), Known{})
	require.ErrorContains(t, err, "at most 1048576 are read")
}

func TestDeepNesting(t *testing.T) {
	src := minimal + "    ladder:\n      - use: script\n        with: {a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}\n"
	_, err := Parse("shivx.yaml", []byte(src), testKnown)
	require.ErrorContains(t, err, "levels deep")
}

// FuzzParse looks for files that make the loader or its messages panic, and for places outside the file.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/shivx.yaml")
	require.NoError(f, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		_, err := Parse("shivx.yaml", source, testKnown)
		var errs *Errors
		if err == nil || !errors.As(err, &errs) {
			require.NoError(t, err)
			return
		}
		require.NotEmpty(t, *errs)
		lines := len(splitLines(source))
		for _, p := range *errs {
			assert.LessOrEqual(t, p.Line, lines, p.String())
		}
		require.NoError(t, errs.Format(io.Discard, source))
	})
}

// FuzzFormat gives Format places and sources that do not belong together.
func FuzzFormat(f *testing.F) {
	f.Add("a: 1\nb: \x80\t日本", 2, 4, 2)
	f.Add("", 1, 1, 0)
	f.Add(strings.Repeat("x", 500), 1, 499, 300)
	f.Add("password: hunter2", -1, -5, -9)
	f.Fuzz(func(t *testing.T, source string, line, column, cut int) {
		var b bytes.Buffer
		p := Problem{File: "f", Line: line, Column: column, Message: "m", cut: cut}
		require.NoError(t, Errors{p}.Format(&b, []byte(source)))
		for shown := range strings.SplitSeq(b.String(), "\n") {
			assert.LessOrEqual(t, len([]rune(shown)), maxShown+80)
		}
	})
}
