package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
)

// TestGoldenExitCodes: what the documentation says of exit codes holds without Temporal, and with -o json there is
// always one document.
func TestGoldenExitCodes(t *testing.T) {
	s := newSite(t, "")
	call := func(code int, args ...string) {
		t.Helper()
		s.want(code, nil, args...)
		r := s.want(code, nil, append(args, "-o", "json")...)
		d := decode[map[string]any](t, r)
		for l := range strings.Lines(r.err) {
			if !json.Valid([]byte(l)) {
				t.Errorf("%v: no JSON: %q", args, l)
			}
		}
		if told, ok := d["error"].(string); ok && (told == "" || d["exit_code"] != float64(code)) {
			t.Errorf("%v: %v", args, d)
		}
	}
	call(exitRefused, "restore", "site", "--local", "--yes") // nothing was ever stored
	s.want(exitOK, nil, "backup", "site", "--local", "--name", "good")
	first := decode[[]listedGolden](t, s.want(exitOK, nil, "list", "-o", "json"))[0].ID
	s.want(exitOK, nil, "backup", "site", "--local")
	for _, args := range [][]string{{"verify"}, {"restore", "--yes"}, {"restore", "--plan"}, {"backup"}} {
		call(exitRefused, append(args, "siet", "--local")...)
		call(exitUsage, append(args, "site@web-2", "--local")...)
	}
	for _, args := range [][]string{{"verify", "--local"}, {"restore", "--local", "--yes"}, {"restore", "--local", "--plan"}, {"browse"}, {"diff"}} {
		call(exitRefused, append(args, "site/bad")...)
		call(exitRefused, append(args, "site/"+first[:4])...) // ambiguous
		call(exitRefused, append(args, first)...)             // an id is no set
		s.want(exitOK, nil, append(args, "site@web-1/good")...)
	}
	call(exitRefused, "list", "siet")
	call(exitRefused, "prune", "siet")
	call(exitRefused, "backup", "site", "--local", "--name", "good")
	call(exitUsage, "backup", "site", "--local", "--name", "latest")
	call(exitUsage, "backup", "site", "--local", "--name", "0815")
	call(exitUsage, "backup", "site/good", "--local")
	call(exitRefused, "browse", "site", "/nowhere")
	call(exitUsage, "verify")
	s.want(exitUsage, []string{"shivx golden verify needs SET[@HOST][/GOLDEN]"}, "verify")
	s.want(exitUnreachable, []string{"add --local"}, "backup", "site")

	s.damage()
	for _, args := range [][]string{{"verify", "site", "--local"}, {"restore", "site", "--local", "--yes"}, {"restore", "site", "--local", "--plan"},
		{"restore", "site", "--local", "--to", s.path("look")}, {"scrub"}} {
		call(exitTampered, args...)
	}
	s.want(exitOK, nil, "list")
	goldens, err := filepath.Glob(s.path("store/goldens/site/*.golden"))
	if err != nil || len(goldens) != 2 {
		t.Fatal(goldens, err)
	}
	for _, g := range goldens {
		if err := os.WriteFile(g, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"verify", "site", "--local"}, {"restore", "site/" + first, "--local", "--yes"}, {"restore", "site", "--local", "--plan"},
		{"browse", "site"}, {"scrub"}} {
		call(exitTampered, args...)
	}
	list := decode[[]listedGolden](t, s.want(exitTampered, nil, "list", "-o", "json"))
	if len(list) != 2 || list[0].Error == "" {
		t.Errorf("list: %+v", list)
	}
}

// TestGoldenWithoutIdentity: a store that cannot be read is not one of which nothing is stored.
func TestGoldenWithoutIdentity(t *testing.T) {
	s := newSite(t, "  encryption: {recipients: [age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg], identity: file:DIR/absent}")
	for _, args := range [][]string{{"list"}, {"scrub"}, {"prune", "--yes"}, {"verify", "site", "--local"}, {"backup", "site", "--local", "--plan"}} {
		code := exitError
		if args[0] == "backup" {
			code = exitNotHealed
		}
		r := s.want(code, nil, args...)
		if !strings.Contains(r.err, "golden.encryption.identity") || !strings.Contains(r.err, "check that the file exists") || strings.Contains(r.out, "nothing is stored") {
			t.Errorf("%v: %s%s", args, r.out, r.err)
		}
	}
	want(t, exitError, []string{"absent", "check that the file exists"}, "golden", "list", "--store", s.path("store"), "--identity", s.path("absent"))
}

// TestGoldenPruneAsks: nothing is removed that nobody has said yes to, and what is removed is in the ledger.
func TestGoldenPruneAsks(t *testing.T) {
	s := newSite(t, "")
	s.want(exitOK, nil, "backup", "site", "--local", "--name", "old")
	s.put("srv/index.html", "other")
	s.want(exitOK, nil, "backup", "site", "--local")
	s.want(exitOK, nil, "backup", "site", "--local")
	s.want(exitOK, []string{"0 goldens removed"}, "prune") // there is nothing to ask
	s.want(exitUsage, []string{"which golden of site", "--remove site/GOLDEN"}, "prune", "--remove", "site")
	s.want(exitUsage, []string{"nobody can be asked"}, "prune", "--remove", "site/old")
	plan := decode[prunedDocument](t, s.want(exitOK, nil, "prune", "--remove", "site/old", "--plan", "-o", "json"))
	if len(plan.Removed) != 1 || len(plan.Goldens) != 1 || plan.Goldens[0].Name != "old" || plan.Goldens[0].Stays || plan.Blocked == nil || plan.Kept != 2 {
		t.Errorf("plan: %+v", plan)
	}
	s.want(exitOK, []string{"goes", "1 golden removed"}, "prune", "--remove", "site/old", "--yes")
	if list := decode[[]listedGolden](t, s.want(exitOK, nil, "list", "-o", "json")); len(list) != 2 {
		t.Errorf("list: %+v", list)
	}
	want(t, exitOK, []string{"prune", "asked for by ana: removed 1 golden"}, "ledger", "show", "--config", s.conf)
	whole := decode[prunedDocument](t, s.want(exitOK, nil, "prune", "site", "--plan", "-o", "json"))
	if len(whole.Goldens) != 2 || !whole.Goldens[0].Stays || strings.Contains(strings.Join(whole.Goldens[0].Why, " "), "no rule says") {
		t.Errorf("plan of the set: %+v", whole)
	}
	s.want(exitOK, []string{"verified"}, "scrub", "--repair")
	s.want(exitOK, []string{"✓ stage", "restored 2 files"}, "restore", "site", "--local", "--to", s.path("look"))
	want(t, exitOK, []string{"the store was repaired, asked for by ana", "2 files below " + s.path("look")}, "ledger", "show", "--config", s.conf)
}

// TestGoldenPruneKeepsTheImmutable also from who asks by name.
func TestGoldenPruneKeepsTheImmutable(t *testing.T) {
	s := newSite(t, "")
	conf, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	s.put("shivx.yaml", strings.Replace(string(conf), "keep: {last: 2,", "keep: {immutable_days: 2, last: 2,", 1))
	s.want(exitOK, nil, "backup", "site", "--local", "--name", "a")
	s.want(exitOK, nil, "backup", "site", "--local", "--name", "b")
	s.want(exitRefused, []string{" stays: ", "immutable until"}, "prune", "--remove", "site/a", "--yes")
}

// TestGoldenNamesThatDoNotShow can be given back to a shell, and to programs.
func TestGoldenNamesThatDoNotShow(t *testing.T) {
	s := newSite(t, "")
	s.put("srv/a\nb\t\xff,\"c", "x")
	s.want(exitOK, nil, "backup", "site", "--local")
	s.want(exitOK, []string{`/srv/a\nb\t\xff,"c'`}, "browse", "site", s.path("srv"))
	all := decode[[]browsedEntry](t, s.want(exitOK, nil, "browse", "site", s.path("srv"), "-o", "json"))
	if len(all) != 4 || all[1].Path != "" || all[1].PathBase64 == "" || all[0].Path != s.path("srv") {
		t.Errorf("entries: %+v", all)
	}
	s.put("srv/a\nb\t\xff,\"c", "y")
	s.put("srv/index.html", "defaced")
	s.want(exitOK, []string{"restored"}, "restore", "site", "--local", "--yes", "--only", s.path("srv/a\nb\t\xff,\"c"))
	s.holds("srv/a\nb\t\xff,\"c", "x")
	s.holds("srv/index.html", "defaced")
}

// TestGoldenHintsCarryFlags: a command that is told of works where this one was called.
func TestGoldenHintsCarryFlags(t *testing.T) {
	a := &app{}
	a.bare = bareStore{store: "/mnt/the store", identity: "/root/key", host: "web-1", vars: "/tmp/v", trust: []string{"K="}}
	for text, want := range map[string]string{
		"run: shivx golden resume":                    "run: shivx golden resume --store '/mnt/the store' --identity /root/key --host web-1 --var /tmp/v",
		"shivx golden browse site/ID shows, and more": "shivx golden browse --store '/mnt/the store' --identity /root/key --host web-1 --var /tmp/v --trust K= site/ID shows, and more",
		"shivx golden backup site":                    "shivx golden backup site",
	} {
		if got := a.dressed(text); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	a.bare, a.config = bareStore{}, "/etc/x.yaml"
	if got := a.dressed("shivx golden scrub --repair mends"); got != "shivx golden scrub --config /etc/x.yaml --repair mends" {
		t.Error(got)
	}
}

// TestGoldenTellsOfWhatIsHalfway on top of a list, and how it has ended.
func TestGoldenTellsOfWhatIsHalfway(t *testing.T) {
	s := newSite(t, "")
	s.want(exitOK, nil, "backup", "site", "--local")
	id := decode[[]listedGolden](t, s.want(exitOK, nil, "list", "-o", "json"))[0].ID
	job := map[string]any{"format": 1, "began": time.Now(), "services": []string{}, "policy": map[string]any{},
		"restore": map[string]any{"set": "site", "host": "web-1", "run": "local R", "restore": "R", "golden": id}}
	data, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	s.put("var/recovery/golden/restores/R.services", string(data))
	s.want(exitOK, []string{"a restore of site from " + id, "was cut off; end it with: shivx golden resume --config " + s.conf}, "list")
	s.want(exitOK, []string{"the restore of site@web-1 from " + id, "nothing was changed", "nothing is left halfway"}, "resume")
	if r := s.want(exitOK, nil, "list"); strings.Contains(r.err, "cut off") {
		t.Error(r.err)
	}
	n := 0
	err = ledger.Read(s.path("var/"+config.OperationalLedger), 0, func(r ledger.Record) error {
		if rec := decodeRecord(r); rec.Outcome == shivx.OutcomeAborted {
			n++
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d ends in the ledger, %v", n, err)
	}
}
