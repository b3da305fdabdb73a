package crash_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// service is a component made of files: it is up while the file "up" is there, and every effect
// on it is one line of the file "effects".
type service struct {
	t   *testing.T
	dir string
}

// stepScript has its effect once per run of it: it does not look whether the line is there.
// The line comes last, so that a step cut off before it has done nothing that counts.
const stepScript = `#!/bin/sh
set -e
if [ -e "{dir}/slow" ] && [ "$SHIVX_STEP" = recover ]; then sleep "$(cat "{dir}/slow")"; fi
if [ "$SHIVX_STEP" = recover ] && [ "$SHIVX_OPTION" != useless ]; then touch "{dir}/up"; fi
echo "$SHIVX_STEP $SHIVX_KEY" >> "{dir}/effects"
echo "did $SHIVX_STEP"
`

// doneScript tells whether the effect with the step's key took place.
const doneScript = `#!/bin/sh
if grep -qxF "$SHIVX_OF $SHIVX_KEY" "{dir}/effects" 2>/dev/null; then echo yes; else echo no; fi
`

// markScript is what is noted before a step.
const markScript = `#!/bin/sh
cat "{dir}/effects" 2>/dev/null | wc -l
`

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{t: t, dir: t.TempDir()}
	s.write("state/data", "precious", 0o644)
	for _, step := range []string{"isolate", "recover", "reintegrate", "undo"} {
		s.write("tells/"+step, stepScript, 0o755)
		s.write("blind/"+step, stepScript, 0o755)
		s.write("useless/"+step, strings.ReplaceAll(stepScript, "$SHIVX_OPTION", "useless"), 0o755)
	}
	for _, dir := range []string{"tells/", "useless/"} {
		s.write(dir+"done", doneScript, 0o755)
		s.write(dir+"mark", markScript, 0o755)
	}
	return s
}

func (s *service) write(name, content string, mode os.FileMode) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(s.t, os.WriteFile(path, []byte(strings.ReplaceAll(content, "{dir}", s.dir)), mode))
}

// breakDown is the fault.
func (s *service) breakDown() {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, "up")); err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
}

func (s *service) up() bool {
	_, err := os.Stat(filepath.Join(s.dir, "up"))
	return err == nil
}

// effects counts the effects by their whole line: step and key.
func (s *service) effects() map[string]int {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "effects"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	out := map[string]int{}
	for line := range strings.Lines(string(b)) {
		out[strings.TrimSuffix(line, "\n")]++
	}
	return out
}

// effectsOf counts the effects of one step over all runs, and of one strategy if it is not "".
func (s *service) effectsOf(step, strategy string) int {
	n := 0
	for line, times := range s.effects() {
		if strings.HasPrefix(line, step+" ") && (strategy == "" || strings.Contains(line, "/"+strategy+"/")) {
			n += times
		}
	}
	return n
}

// config is the configuration of an agent that heals the service; ladder is its strategies.
func (s *service) config(host, ladder string) string {
	return strings.NewReplacer("{service}", s.dir, "{host}", host, "{ladder}", ladder).Replace(`
version: 1
host: {host}
paths: {var: "{dir}/var"}
api: {listen: "off"}
components:
  - name: svc
    failures: 1
    checks:
      - command: {argv: [test, -e, "{service}/up"]}
        every: 100ms
        timeout: 5s
    isolate: {use: script, with: {dir: "{service}/tells"}, timeout: 20s}
    state: {paths: ["{service}/state"]}
    ladder: [{ladder}]
    validate: {window: 200ms, every: 50ms, settle: 2s}
    limits: {heals: 1000, cooldown: 0s, max_cooldown: 0s}
`)
}

// rung is a strategy that runs the scripts of a folder.
func (s *service) rung(name, folder string) string {
	return `{name: ` + name + `, use: script, with: {dir: "` + filepath.Join(s.dir, folder) + `"}, timeout: 20s}`
}
