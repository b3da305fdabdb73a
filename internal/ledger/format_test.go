package ledger

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

// TestRecipeOfTheFormatDocument runs the Python program of docs/LEDGER-FORMAT.md: whoever follows
// the document comes to the same verdict as Verify.
func TestRecipeOfTheFormatDocument(t *testing.T) {
	python := testenv.Need(t, "python3", "openssl")[0]
	doc, err := os.ReadFile("../../docs/LEDGER-FORMAT.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(doc), "```python\n")
	require.True(t, found)
	program, _, found := strings.Cut(rest, "```")
	require.True(t, found)
	script := filepath.Join(t.TempDir(), "check.py")
	require.NoError(t, os.WriteFile(script, []byte(program), 0o600))
	run := func(s sample) (string, error) {
		out, err := exec.Command(python, script, s.path).CombinedOutput()
		return string(out), err
	}

	s := newSample(t, 45, 3000)
	out, err := run(s)
	require.NoError(t, err, out)
	require.Equal(t, "ok: 45 records, 0 of them open; genesis "+s.witness[0].Genesis+"\n", out)

	harm := map[string]func(t *testing.T, s sample){
		"does not follow record": func(t *testing.T, s sample) {
			paths, lines := s.lines(t)
			lines[0][3] = change(lines[0][3])
			writeLines(t, paths[0], lines[0])
		},
		"is missing or not the one": func(t *testing.T, s sample) { require.NoError(t, os.Remove(s.path)) },
		"wrong signature": func(t *testing.T, s sample) {
			lines := fileLines(t, s.path+".heads")
			lines[2] = strings.Replace(lines[2], `"time":"2`, `"time":"3`, 1)
			writeLines(t, s.path+".heads", lines)
		},
		"chain of keys is broken": func(t *testing.T, s sample) {
			lines := fileLines(t, s.path+".heads")
			writeLines(t, s.path+".heads", append(lines[:2], lines[3:]...))
		},
	}
	for want, do := range harm {
		s := newSample(t, 45, 0)
		do(t, s)
		out, err := run(s)
		require.Error(t, err)
		require.Contains(t, out, want)
	}

	torn := newSample(t, 5, 0)
	f, err := os.OpenFile(torn.path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"seq":6,"pre`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	out, err = run(torn)
	require.NoError(t, err, out)
	require.Contains(t, out, "torn tail, 13 bytes")
}
