package format_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

const (
	docs      = "../../../docs/"
	fixedName = "configs/20261123-135531-7f3a9c"
)

func publicKey() string {
	return base64.StdEncoding.EncodeToString(signingKey()[ed25519.SeedSize:])
}

// python runs docs/golden_restore.py with Debian's Python.
type python struct {
	t   *testing.T
	env []string
}

func newPython(t *testing.T) *python {
	t.Helper()
	testenv.Need(t, "python3", "zstd", "age")
	out, err := exec.Command("/usr/bin/python3", "-c", "import cryptography, zstandard").CombinedOutput()
	if err != nil {
		testenv.Missing(t, "needs the packages python3, python3-cryptography and python3-zstandard: "+string(out))
	}
	return &python{t: t, env: append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")}
}

// withoutModule hides the module zstandard, so that the program zstd is used.
func (p *python) withoutModule() *python {
	dir := p.t.TempDir()
	testenv.WriteFile(p.t, filepath.Join(dir, "zstandard.py"), "raise ImportError\n")
	return &python{t: p.t, env: append(p.env, "PYTHONPATH="+dir)}
}

func (p *python) run(args ...string) (string, error) {
	cmd := exec.Command("/usr/bin/python3", append([]string{docs + "golden_restore.py"}, args...)...)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func buildTree(t testing.TB, dir string, recipient age.Recipient) *handmade {
	t.Helper()
	m := newHandmade(t, dir, recipient)
	for _, n := range tree() {
		m.add(n.Entry, n.data)
	}
	m.commit()
	return m
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, which alone can restore owners")
	}
}

func TestPythonRestores(t *testing.T) {
	p := newPython(t)
	needRoot(t)
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	identityFile := filepath.Join(t.TempDir(), "identity")
	testenv.WriteFile(t, identityFile, identity.String()+"\n")
	open, sealed := t.TempDir(), t.TempDir()
	buildTree(t, open, nil)
	buildTree(t, sealed, identity.Recipient())
	cases := []struct {
		name  string
		p     *python
		store string
		more  []string
	}{
		{"plain", p, open, nil},
		{"plain, by the program zstd", p.withoutModule(), open, nil},
		{"encrypted", p, sealed, []string{"--identity", identityFile}},
		{"encrypted, by the program zstd", p.withoutModule(), sealed, []string{"--identity", identityFile}},
		{"plain, kept", p, "testdata/v1/plain", nil},
		{"encrypted, kept", p, "testdata/v1/encrypted", []string{"--identity", "testdata/v1/identity.txt"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "target")
			out, err := c.p.run(append(c.more, "--key", publicKey(), c.store, fixedName, "--target", target)...)
			require.NoError(t, err, out)
			require.Contains(t, out, "19 entries, 11 files")
			requireTree(t, tree(), target)
			out, err = c.p.run(append(c.more, "--key", publicKey(), c.store, fixedName, "--target", target)...)
			require.Error(t, err)
			require.Contains(t, out, "not empty")
		})
	}
	t.Run("list", func(t *testing.T) {
		out, err := p.run("--key", publicKey(), open, fixedName, "--list")
		require.NoError(t, err, out)
		require.Len(t, strings.Split(strings.TrimSpace(out), "\n"), len(tree()))
		require.Contains(t, out, `/srv/www/latin-\xe9`)
	})
	t.Run("without the identity", func(t *testing.T) {
		out, err := p.run("--key", publicKey(), sealed, fixedName)
		require.Error(t, err)
		require.Contains(t, out, "--identity")
	})
	t.Run("another key", func(t *testing.T) {
		out, err := p.run("--key", base64.StdEncoding.EncodeToString(make([]byte, 32)), open, fixedName)
		require.Error(t, err)
		require.Contains(t, out, "another key")
	})
}

func TestPythonRefusesDamage(t *testing.T) {
	p := newPython(t)
	dir := t.TempDir()
	m := buildTree(t, dir, nil)
	golden := filepath.Join(dir, "goldens", fixedName+".golden")
	pack := filepath.Join(dir, "packs", m.header.Packs[0].String()[:2], m.header.Packs[0].String()+".pack")
	whole, err := os.ReadFile(golden)
	require.NoError(t, err)
	header := strings.IndexByte(string(whole), '\n')
	cases := []struct {
		name, file string
		at         int // below zero: from the end
	}{
		{"header", golden, 30},
		{"header's newline", golden, header},
		{"key", golden, header + 15},
		{"signature", golden, header + 80},
		{"first segment", golden, header + 200},
		{"last segment", golden, -1},
		{"magic", pack, 0},
		{"first block", pack, 8},
		{"index", pack, -30},
		{"number of blocks", pack, -12},
		{"end", pack, -1},
		{"store", filepath.Join(dir, "golden.json"), 20},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			good, err := os.ReadFile(c.file)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, os.WriteFile(c.file, good, 0o644)) })
			changed := append([]byte{}, good...)
			changed[(c.at+len(changed))%len(changed)] ^= 1
			require.NoError(t, os.WriteFile(c.file, changed, 0o644))
			target := filepath.Join(t.TempDir(), "target")
			out, err := p.run("--key", publicKey(), dir, fixedName, "--target", target)
			require.ErrorContains(t, err, "exit status 1", out)
			require.Contains(t, out, "refused")
			require.NotContains(t, out, "Traceback")
			require.NoFileExists(t, target)
		})
	}
}

// Whoever has the signing key may still be wrong, or worse.
func TestPythonRefusesWhatIsSignedButWrong(t *testing.T) {
	p := newPython(t)
	const attr = `"mode":"0755","uid":0,"gid":0,"mtime":"1.000000000"`
	root := `{"path":"/srv/www","type":"dir",` + attr + "}\n"
	cases := []struct{ name, why, lines string }{
		{"up", "path", root + `{"path":"/srv/www/../../x","type":"dir",` + attr + "}\n"},
		{"outside", "in no folder", root + `{"path":"/srv/x","type":"dir",` + attr + "}\n"},
		{
			"behind a link", "in no folder", root + `{"path":"/srv/www/l","type":"symlink",` + attr + `,"link":"/etc"}` + "\n" +
				`{"path":"/srv/www/l/x","type":"dir",` + attr + "}\n",
		},
		{"twice", "out of order", root + root},
		{"out of order", "out of order", root + `{"path":"/srv/www/b","type":"dir",` + attr + "}\n" + `{"path":"/srv/www/a","type":"dir",` + attr + "}\n"},
		{"hard link elsewhere", "links to nothing", root + `{"path":"/srv/www/x","type":"hardlink","link":"/etc/shadow"}` + "\n"},
		{"hard link to a folder", "links to nothing", root + `{"path":"/srv/www/x","type":"hardlink","link":"/srv/www"}` + "\n"},
		{"symlink to nothing", "link", root + `{"path":"/srv/www/l","type":"symlink",` + attr + `,"link":""}` + "\n"},
		{"unknown field", "unknown fields", `{"path":"/srv/www","type":"dir",` + attr + `,"flags":7}` + "\n"},
		{"unknown type", "device", `{"path":"/srv/www","type":"device",` + attr + "}\n"},
		{"field twice", "twice", `{"path":"/srv/www","path":"/srv/www","type":"dir",` + attr + "}\n"},
		{"no such block", "in no pack", `{"path":"/srv/www","type":"file",` + attr + `,"size":1,"sha256":"` + hash(1).String() + `"}` + "\n"},
		{"too few blocks", "size or blocks", `{"path":"/srv/www","type":"file",` + attr + `,"size":9999999,"sha256":"` + hash(1).String() + `"}` + "\n"},
		{"data beyond size", "size or blocks", `{"path":"/srv/www","type":"file",` + attr + `,"size":1,"sha256":"` + hash(1).String() + `","data":[[5,1]]}` + "\n"},
		{"a missing root", "in no folder", `{"path":"/srv/gone","type":"dir",` + attr + "}\n"},
		{"more than counted", "counts", root + `{"path":"/srv/www/x","type":"dir",` + attr + "}\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			m := newHandmade(t, dir, nil)
			m.lines, m.header.Entries = []byte(c.lines), int64(strings.Count(c.lines, "\n"))
			switch c.name {
			case "no such block":
				m.header.Files, m.header.Bytes = 1, 1
			case "more than counted":
				m.header.Entries--
			}
			m.commit()
			target := filepath.Join(t.TempDir(), "target")
			out, err := p.run("--key", publicKey(), dir, fixedName, "--target", target)
			require.ErrorContains(t, err, "exit status 1", out)
			require.Regexp(t, "^refused.*"+c.why, out)
			require.NoFileExists(t, target, out)
		})
	}
}

// The commands in the document work as they stand there.
func TestDocumentedCommands(t *testing.T) {
	testenv.Need(t, "bash", "jq", "zstd", "openssl", "sha256sum", "od", "awk")
	doc, err := os.ReadFile(docs + "GOLDEN-FORMAT.md")
	require.NoError(t, err)
	commands := regexp.MustCompile("(?s)```sh\n(.*?)```").FindSubmatch(doc)
	require.NotNil(t, commands)
	cmd := exec.Command("bash", "-eu", "-c", string(commands[1]))
	cmd.Dir = "testdata/v1/plain"
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "Signature Verified Successfully")
	require.Contains(t, string(out), publicKey())
	require.Contains(t, string(out), "file\t0644\t10\t/etc/app/app.conf")
	require.Contains(t, string(out), "/plain: OK")
	require.Len(t, strings.Split(strings.TrimSpace(string(out)), "\n"), 3+len(tree()), string(out))
}
