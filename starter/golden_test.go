package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	crypt "filippo.io/age"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
)

// site is a host with one set in a folder, without Temporal, an agent or services.
type site struct {
	t    *testing.T
	dir  string
	conf string
}

func newSite(t *testing.T, more string) *site {
	t.Helper()
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	t.Setenv("USER", "ana")
	t.Setenv("SUDO_USER", "")
	s := &site{t: t, dir: t.TempDir()}
	s.conf = filepath.Join(s.dir, "shivx.yaml")
	s.put("shivx.yaml", strings.ReplaceAll(`
version: 1
host: web-1
api: {listen: "off"}
paths: {var: var}
golden:
  store: {path: store}
`+more+`
  sets:
    - {name: site, paths: [srv], keep: {last: 2, daily: 0, weekly: 0, monthly: 0}}
`, "DIR", s.dir))
	s.put("srv/index.html", strings.Repeat("<p>hello\n", 2000))
	s.put("srv/conf/site.json", `{"name": "site"}`)
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) put(name, content string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) holds(name, content string) {
	s.t.Helper()
	data, err := os.ReadFile(s.path(name))
	if err != nil || string(data) != content {
		s.t.Errorf("%s holds %.60q, %v, and not %.60q", name, data, err, content)
	}
}

// want runs a golden command with the site's configuration.
func (s *site) want(code int, texts []string, args ...string) result {
	s.t.Helper()
	return want(s.t, code, texts, append([]string{"golden", "--config", s.conf}, args...)...)
}

// damage flips a byte in each pack.
func (s *site) damage() {
	s.t.Helper()
	packs, err := filepath.Glob(s.path("store/packs/*/*.pack"))
	if err != nil || len(packs) == 0 {
		s.t.Fatal(packs, err)
	}
	for _, p := range packs {
		data, err := os.ReadFile(p)
		if err != nil {
			s.t.Fatal(err)
		}
		data[len(data)/8] ^= 1 // of a block; the index is at the end
		if err := os.WriteFile(p, data, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestGoldenWithoutTemporal(t *testing.T) {
	s := newSite(t, "")
	s.want(exitOK, []string{"nothing is stored yet"}, "list")
	s.want(exitOK, []string{"site@web-1: planned"}, "backup", "site", "--local", "--plan")
	s.want(exitOK, []string{"nothing is stored yet"}, "list")
	s.want(exitOK, []string{"site@web-1: stored in", "2, 0 of them unchanged"}, "backup", "site", "--local", "--name", "good")
	s.put("srv/index.html", "defaced")
	s.put("srv/shell.php", "evil")
	backup := decode[shivx.GoldenBackupResult](t, s.want(exitOK, nil, "backup", "site", "--local", "-o", "json"))
	if backup.Outcome != shivx.OutcomeStored || backup.Golden.Set != "site" || backup.Capture.Files != 3 {
		t.Errorf("backup: %+v", backup)
	}
	s.want(exitOK, []string{"GOLDEN", "good", backup.Golden.ID}, "list", "site")
	list := decode[[]listedGolden](t, s.want(exitOK, nil, "list", "-o", "json"))
	if len(list) != 2 || list[0].ID != backup.Golden.ID || list[1].Name != "good" {
		t.Errorf("list: %+v", list)
	}
	s.want(exitOK, []string{"site/" + backup.Golden.ID + ": verified", "0 places damaged"}, "verify", "--local", "site")
	s.want(exitOK, []string{"srv/index.html"}, "browse", "site/good", s.path("srv"))
	s.want(exitOK, []string{"the store@web-1: verified"}, "scrub")
	s.want(exitOK, []string{"~", "index.html", "-", "shell.php", "0 to add, 1 to remove, 1 to rewrite", "7 → 18000 bytes", "~ rewritten"}, "diff", "site/good")
	s.want(exitOK, []string{"no service would be stopped", " ago: 2 files", "1 to remove, 1 to rewrite"}, "restore", "site/good", "--local", "--plan")
	s.holds("srv/index.html", "defaced")

	s.want(exitUsage, []string{"nobody can be asked — look with --plan, then say --yes"}, "restore", "site/good", "--local")
	s.holds("srv/index.html", "defaced")
	s.want(exitOK, []string{"below " + s.path("look")}, "restore", "site/good", "--local", "--to", s.path("look"))
	s.holds(filepath.Join("look", s.path("srv/conf/site.json")), `{"name": "site"}`)
	s.holds("srv/index.html", "defaced")

	s.put("srv/conf/site.json", "{}")
	s.want(exitOK, []string{"✓ swap", "site@web-1: restored in"}, "restore", "site/good", "--local", "--yes", "--only", s.path("srv/index.html"))
	s.holds("srv/index.html", strings.Repeat("<p>hello\n", 2000))
	s.holds("srv/conf/site.json", "{}")
	s.holds("srv/shell.php", "evil")

	r := s.want(exitOK, []string{`"step":{"name":"swap"`}, "restore", "site/good", "--local", "--yes", "--keep-old", "-o", "json")
	whole := decode[shivx.GoldenRestoreResult](t, r)
	if whole.Outcome != shivx.OutcomeRestored || !whole.Swapped || len(whole.Steps) < 6 {
		t.Errorf("restore: %+v", whole)
	}
	for l := range strings.Lines(r.err) {
		if !json.Valid([]byte(l)) {
			t.Errorf("no JSON: %q", l)
		}
	}
	s.holds("srv/conf/site.json", `{"name": "site"}`)
	if _, err := os.Stat(s.path("srv/shell.php")); err == nil {
		t.Error("what was added is still there")
	}
	kept, _ := filepath.Glob(s.path(".shivx-kept-*"))
	if len(kept) != 1 {
		t.Errorf("the old state is not kept: %v", kept)
	}
	s.want(exitOK, []string{"nothing is left halfway"}, "resume")
	want(t, exitOK, []string{"restored from "}, "ledger", "show", "--config", s.conf)
}

func TestGoldenRefusals(t *testing.T) {
	s := newSite(t, "")
	s.want(exitOK, nil, "backup", "site", "--local", "--name", "good")
	s.want(exitUsage, []string{"only the sets of this host can be meant, which is web-1", "--from web-2"}, "backup", "site@web-2", "--local")
	s.want(exitRefused, []string{`web-1 has no set "shop" — its sets: site`}, "backup", "shop", "--local")
	s.want(exitRefused, []string{"no such golden: bad of the set site", "shivx golden list --config " + s.conf + " site"}, "restore", "site/bad", "--local", "--yes")
	s.want(exitUsage, []string{"--to is for a restore in this process — add --local"}, "restore", "site", "--to", "/tmp/x")
	s.want(exitUsage, []string{"44 characters"}, "list", "--trust", "nonsense")
	s.want(exitUnreachable, nil, "backup", "site@web-1")

	s.put("srv/index.html", "defaced")
	s.damage()
	s.want(exitTampered, []string{": damaged;", "read in", "place"}, "verify", "site", "--local")
	s.want(exitTampered, []string{"lost with it: " + s.path("srv/")}, "scrub")
	s.want(exitTampered, []string{"site@web-1: damaged", "nothing was touched", "shivx golden scrub --config " + s.conf + " --repair"}, "restore", "site", "--local", "--yes")
	got := decode[shivx.GoldenRestoreResult](t, s.want(exitTampered, nil, "restore", "site", "--local", "--yes", "-o", "json"))
	if got.Outcome != shivx.OutcomeDamaged || got.Swapped {
		t.Errorf("restore: %+v", got)
	}
	s.holds("srv/index.html", "defaced")
}

func TestGoldenPrune(t *testing.T) {
	s := newSite(t, "  parity: 10")
	for i := range 3 {
		s.put("srv/index.html", fmt.Sprint(i, strings.Repeat("x", 1000)))
		s.want(exitOK, nil, "backup", "site", "--local")
	}
	list := decode[[]listedGolden](t, s.want(exitOK, nil, "list", "-o", "json"))
	if len(list) != 2 {
		t.Errorf("a backup keeps what its set says: %+v", list)
	}
	s.want(exitOK, []string{"stays", "0 goldens would be removed"}, "prune", "--plan")
	s.damage()
	s.want(exitTampered, []string{"damaged"}, "scrub")
	s.want(exitOK, []string{"0 places damaged", " repaired"}, "scrub", "--repair")
	s.want(exitOK, []string{"verified"}, "verify", "site", "--local")
}

// TestGoldenOnABareMachine: a store and a public key bring everything back.
func TestGoldenOnABareMachine(t *testing.T) {
	identity, err := crypt.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, encryption := range []string{"", "  encryption: {recipients: [" + identity.Recipient().String() + "], identity: file:DIR/identity}"} {
		s := newSite(t, encryption)
		s.put("identity", identity.String()+"\n")
		backup := decode[shivx.GoldenBackupResult](t, s.want(exitOK, nil, "backup", "site", "--local", "-o", "json"))
		for _, gone := range []string{"srv", "var", "shivx.yaml"} {
			if err := os.RemoveAll(s.path(gone)); err != nil {
				t.Fatal(err)
			}
		}
		t.Chdir(t.TempDir())
		bare := []string{"--store", s.path("store")}
		if encryption != "" {
			want(t, exitError, []string{"no identity opens the store", "--identity FILE"},
				append([]string{"golden", "browse", "site", "--trust", backup.Golden.Key}, bare...)...)
			bare = append(bare, "--identity", s.path("identity"))
		}
		call := func(code int, texts []string, args ...string) {
			t.Helper()
			want(t, code, texts, append(append([]string{"golden"}, args...), bare...)...)
		}
		call(exitOK, []string{"untrusted", "add: --trust " + backup.Golden.Key}, "list")
		call(exitRefused, []string{"untrusted", backup.Golden.Key}, "restore", "site", "--yes")
		left, err := os.ReadDir(".")
		if err != nil || len(left) > 0 {
			t.Errorf("looking has made %v, %v", left, err)
		}
		bare = append(bare, "--trust", backup.Golden.Key)
		call(exitOK, []string{"site/" + backup.Golden.ID + ": verified"}, "verify", "site")
		call(exitOK, []string{"index.html"}, "browse", "site", s.path("srv"))
		call(exitOK, []string{"4 to add"}, "diff", "site")
		call(exitOK, []string{"restored"}, "restore", "site", "--to", s.path("look"))
		call(exitUsage, []string{"the store has no golden of web-9", "web-1"}, "restore", "site", "--host", "web-9")
		call(exitOK, []string{"no service is stopped or started", "site@web-1: restored"}, "restore", "site", "--yes", "--var", s.path("rescue"))
		s.holds("srv/index.html", strings.Repeat("<p>hello\n", 2000))
		s.holds(filepath.Join("look", s.path("srv/conf/site.json")), `{"name": "site"}`)
	}
	want(t, exitUsage, []string{"holds no golden", "golden.json"}, "golden", "list", "--store", t.TempDir())
}

// TestGoldenStoreThatCannotBeOpened is mended by the command that its error names, also where the configuration is gone.
func TestGoldenStoreThatCannotBeOpened(t *testing.T) {
	s := newSite(t, "  parity: 20\n")
	s.want(exitOK, nil, "backup", "site", "--local")
	path := s.path("store/golden.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bare := range [][]string{nil, {"--store", s.path("store"), "--var", s.path("var2")}} {
		s.put("store/golden.json", `{"format":`)
		for _, args := range [][]string{{"list"}, {"verify", "site", "--local"}, {"scrub"}, {"prune"}, {"restore", "site", "--local", "--yes"}} {
			s.want(exitTampered, []string{"golden.json", " — shivx golden scrub --", " --repair mends what has parity"}, append(args, bare...)...)
		}
		s.want(exitOK, []string{"verified", "0 places damaged, 1 repaired", "golden.json"}, append([]string{"scrub", "--repair"}, bare...)...)
		if again, err := os.ReadFile(path); err != nil || string(again) != string(whole) {
			t.Errorf("not mended: %q, %v", again, err)
		}
		s.want(exitOK, []string{"verified"}, append([]string{"scrub"}, bare...)...)
	}
	s.want(exitOK, []string{"nothing is left halfway"}, "resume")
	s.want(exitOK, []string{"0 goldens removed"}, "prune", "--clock-is-right")
}

// TestGoldenRestoreBesideTheAgent is refused when it would stop services: the agent would start them again.
func TestGoldenRestoreBesideTheAgent(t *testing.T) {
	s := newSite(t, "")
	conf, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	s.put("shivx.yaml", strings.Replace(string(conf), "paths: [srv], ", "paths: [srv], services: [web], ", 1)+strings.ReplaceAll(`
components:
  - name: web
    checks: [{process: {pid_file: PID}}]
    ladder: [{use: process, with: {start: [/bin/true], pid_file: PID}}]
`, "PID", s.path("pid")))
	s.want(exitOK, nil, "backup", "site", "--local")
	s.put("srv/index.html", "defaced")
	agent, err := ledger.Open(s.path("var/"+config.OperationalLedger), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const stop = " — systemctl stop shivx-worker; or leave out --local, so that the agent does it; or set each of web to maintenance " +
		"(shivx component maintenance NAME on --for 1h) and add --beside-agent"
	for _, args := range [][]string{nil, {"--yes"}, {"--yes", "--in-place"}, {"--yes", "--only", s.path("srv/index.html")}} {
		s.want(exitRefused, []string{"the agent of this host runs, and would start again what is stopped here: web", stop}, append([]string{"restore", "site", "--local"}, args...)...)
	}
	s.holds("srv/index.html", "defaced")
	s.want(exitOK, []string{"would be stopped, and started again: web"}, "restore", "site", "--local", "--plan")
	s.want(exitOK, []string{"nothing is left halfway"}, "resume")
	s.put(filepath.Join("var", "recovery", "golden", "restores", "x.services"), "{}")
	s.want(exitRefused, []string{"the agent of this host runs", " — systemctl restart shivx-worker: the agent does it when it starts"}, "resume")
	if err := os.Remove(s.path("var/recovery/golden/restores/x.services")); err != nil {
		t.Fatal(err)
	}
	s.want(exitOK, []string{"restored in"}, "restore", "site", "--local", "--yes", "--leave-services")
	s.holds("srv/index.html", strings.Repeat("<p>hello\n", 2000))
	s.want(exitNotHealed, []string{"✓ stop web", "✗ start web"}, "restore", "site", "--local", "--yes", "--beside-agent")
	if err := agent.Close(); err != nil {
		t.Fatal(err)
	}
	s.want(exitNotHealed, []string{"✗ start web", "STOPPED", "shivx golden resume"}, "restore", "site", "--local", "--yes")
}
