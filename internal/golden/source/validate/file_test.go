package validate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

const (
	sampleJSON = `{"listen": ":8080", "limits": [1, 2.5e3, null, {"name": "äöü", "name2": "\u00e4"}], "empty": {}}`
	sampleYAML = "# of an application\nlisten: \":8080\"\nlimits: &l\n  - 1\n  - name: äöü\nagain: *l\ntext: |\n  a: b\n   c\n---\nsecond: {a: [1, 2]}\n"
	sampleTOML = "listen = ':8080'\n[limits]\nnames = [\"äöü\", 'b']\nat = 2024-01-01T00:00:00Z\n[[x]]\ny = 1\n[[x]]\ny = 2\n"
)

func check(t *testing.T, f Format, content string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "staged")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return File(f, "/etc/app/live", path)
}

func TestSoundFiles(t *testing.T) {
	for _, c := range []struct {
		format  Format
		content string
	}{
		{JSON, sampleJSON}, {JSON, "\ufeff" + sampleJSON + "\n"}, {JSON, " 1 "}, {JSON, `{"a":["a","a",{"b":"b","c":"b"}],"d":"a"}`},
		{YAML, sampleYAML}, {YAML, ""}, {YAML, "? a\n: b\n"}, {YAML, "a: !custom {x: 1}\n"}, {YAML, "a: x\r\nb: y\r\n"},
		{YAML, "%YAML 1.2\n---\na: one\n  two\n...\n"}, {YAML, "- - a\n  - b\n-\n  c: d\n"}, {YAML, "a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n"},
		{TOML, sampleTOML}, {TOML, ""}, {TOML, "a.b = 1\n[a.c]\n"},
	} {
		require.NoError(t, check(t, c.format, c.content), c.content)
	}
}

func TestProblemsHaveTheirPlace(t *testing.T) {
	for _, c := range []struct {
		format        Format
		content, want string
	}{
		{JSON, "", "live:1:1: unexpected end"},
		{JSON, "{\n\"a\": 1,\n}", "live:3:1: invalid character '}'"},
		{JSON, "{}\n{}", "live:2:1: invalid character '{'"},
		{JSON, "{\"b\": 1,\n \"a\": {\"b\": 2}, \"b\": 3}", `live:2:17: key "b" stands here twice`},
		{JSON, "{\"a\": \"\x00\"}", "live:1:8: control character 0x00"},
		{YAML, "a: 1\nb: [1, 2\nc: 3\n", "live:3:1:"},
		{YAML, "a: 1\na: 2\n", "live:2:1:"},
		{YAML, "a: *x\n", "live:1:5:"},
		{YAML, "a: 1\n---\nb: 1\n c: 2\n", "live:3:4:"},
		{YAML, "a: b\n\x00\x00\x00\x00", "live:2:1: control character"},
		{TOML, "a = 1\na = 2\n", "live:2:"},
		{TOML, "a = \n", "live:1:"},
		{TOML, "a = 1\nb = \"\xff\"\n", "live:2:6: byte 0xff is not UTF-8"},
	} {
		err := check(t, c.format, c.content)
		require.ErrorContains(t, err, "/etc/app/"+c.want, c.content)
		require.NotEmpty(t, shivx.HintOf(err))
		_, ok := errors.AsType[*Problem](err)
		require.True(t, ok)
	}
}

// Lost blocks, cut ends and foreign content are found in every format.
func TestDamageIsFound(t *testing.T) {
	for format, sample := range map[Format]string{JSON: sampleJSON, YAML: sampleYAML, TOML: sampleTOML} {
		for i := range sample {
			require.Error(t, check(t, format, sample[:i]+"\x00"+sample[i+1:]), "%s: zero at %d", format, i)
		}
		require.Error(t, check(t, format, strings.Repeat("\x00", len(sample))))
		require.Error(t, check(t, format, sample+"\x7fELF\x01"))
		if format == JSON {
			for i := range sample {
				require.Error(t, check(t, format, sample[:i]), "cut at %d", i)
			}
		}
	}
}

func TestFormatOf(t *testing.T) {
	for path, want := range map[string]Format{"/a.json": JSON, "/a.YML": YAML, "/a.yaml": YAML, "/a.toml": TOML, "/a.conf": "", "/json": ""} {
		require.Equal(t, want, FormatOf(path))
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	require.ErrorIs(t, File(JSON, "/live", filepath.Join(t.TempDir(), "none")), os.ErrNotExist)
	require.ErrorContains(t, check(t, "ini", "x"), `unknown format "ini"`)
	big := filepath.Join(t.TempDir(), "big")
	f, err := os.Create(big)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(maxSize+1))
	require.NoError(t, f.Close())
	require.ErrorContains(t, File(JSON, "/live", big), "larger than 64 MB")
}

func FuzzFile(f *testing.F) {
	f.Add("json", sampleJSON)
	f.Add("yaml", sampleYAML)
	f.Add("toml", sampleTOML)
	f.Fuzz(func(t *testing.T, format, content string) {
		err := check(t, Format(format), content)
		if p, ok := errors.AsType[*Problem](err); ok {
			require.GreaterOrEqual(t, p.Line, 0)
			require.LessOrEqual(t, p.Line, strings.Count(content, "\n")+2)
		}
	})
}
