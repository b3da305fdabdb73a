package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files")

// badOption is an error that names the option.
type badOption struct{ option, text string }

func (e badOption) Error() string  { return e.text }
func (e badOption) Option() string { return e.option }

// testKnown stands for the built-in plugins.
var testKnown = Known{Plugins: map[string]PluginInfo{
	"process": {CheckOptions: checkProcessOptions},
	"network": {}, "data": {}, "state": {}, "database": {}, "script": {},
}}

func checkProcessOptions(raw json.RawMessage) error {
	var options map[string]any
	if err := json.Unmarshal(raw, &options); err != nil {
		return err
	}
	var errs []error
	if len(options) == 0 {
		return errors.New("needs one of unit, command, pid_file")
	}
	if _, ok := options["unti"]; ok {
		errs = append(errs, badOption{"unti", "unknown option \"unti\"; did you mean \"unit\"?"})
	}
	if stop, ok := options["stop"].(map[string]any); ok && stop["signal"] == "SIGNOPE" {
		errs = append(errs, badOption{"stop.signal", "no such signal"})
	}
	if options["unit"] == "" {
		errs = append(errs, errors.New("unit is empty"))
	}
	return errors.Join(errs...)
}

// TestGolden loads each testdata/CASE/shivx.yaml and compares what is printed with want.txt.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*/shivx.yaml")
	require.NoError(t, err)
	require.Greater(t, len(files), 40, "the cases are gone")
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		t.Run(name, func(t *testing.T) {
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			got := "ok\n"
			if _, err := Load(file, testKnown); err != nil {
				var errs *Errors
				require.ErrorAs(t, err, &errs)
				var b bytes.Buffer
				require.NoError(t, errs.Format(&b, source))
				got = strings.ReplaceAll(b.String(), filepath.Dir(file)+"/", "")
			}
			golden := filepath.Join(filepath.Dir(file), "want.txt")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), got)
			assert.NotContains(t, got, "hunter2", "a secret is printed")
		})
	}
}

func loadFull(t *testing.T) *Config {
	t.Helper()
	cfg, err := Load("testdata/full/shivx.yaml", testKnown)
	require.NoError(t, err)
	return cfg
}

func TestFullExample(t *testing.T) {
	cfg := loadFull(t)
	dir, err := filepath.Abs("testdata/full")
	require.NoError(t, err)

	assert.Equal(t, "shop-1", cfg.Host)
	assert.Equal(t, filepath.Join(dir, "state"), cfg.Paths.Var)
	assert.Equal(t, filepath.Join(dir, "plugins/rotate-keys"), cfg.Plugins[0].Path)

	redis, ok := cfg.Component("redis")
	require.True(t, ok)
	assert.True(t, redis.Critical)
	assert.Equal(t, 4, redis.Failures)
	assert.Equal(t, []string{"/var/lib/redis", filepath.Join(dir, "conf/redis.conf")}, redis.State.Paths)
	assert.Equal(t, filepath.Join(dir, "run/redis.pid"), redis.Checks[2].Process.PIDFile)
	assert.Equal(t, filepath.Join(dir, "conf"), redis.State.Consistency[0].Dir)
	assert.Equal(t, map[string]string{"LANG": "C"}, redis.State.Consistency[0].Env)
	assert.Equal(t, "PING\r\n", redis.Checks[1].TCP.Send)
	assert.Equal(t, Approval{Required: 2, Of: []string{"anna", "ben", "chris"}, TTL: 10 * time.Minute, Default: "deny"}, redis.Ladder[1].Approval)
	assert.Equal(t, []string{}, redis.State.Rules[1].Allow)
	assert.Equal(t, 20*time.Second, *redis.Validate.Window)
	assert.Equal(t, "reintegrate", redis.OnFailure)
	assert.Equal(t, []map[string]string{{"alertname": "RedisDown", "instance": "shop-1:9121"}, {"service": "cache"}}, redis.Alerts)

	_, ok = cfg.Component("Redis")
	assert.False(t, ok)
}

func TestDefaultsAreFilledIn(t *testing.T) {
	cfg := loadFull(t)
	pg, web := cfg.Components[0], cfg.Components[2]

	assert.Equal(t, 2, pg.Failures, "from defaults")
	assert.Equal(t, "postgresql", pg.Checks[0].Name, "the kind")
	assert.Equal(t, 5*time.Second, pg.Checks[0].Every)
	assert.Equal(t, 2*time.Second, pg.Checks[0].Timeout)
	assert.Equal(t, "database", pg.Ladder[0].Name, "the plugin")
	assert.Equal(t, 1, pg.Ladder[0].Attempts)
	assert.Equal(t, 30*time.Second, pg.Ladder[0].Timeout)
	assert.Equal(t, Approval{TTL: 15 * time.Minute, Default: "deny"}, pg.Ladder[0].Approval)
	assert.Equal(t, Limits{5, time.Hour, 10 * time.Second, 10 * time.Minute, 2 * time.Minute}, pg.Limits)
	assert.Equal(t, 10*time.Second, *pg.Validate.Window)
	assert.Equal(t, "stay-isolated", pg.OnFailure)
	assert.Equal(t, 3, pg.State.Keep)
	assert.Empty(t, pg.Isolate.Plugin)
	assert.Equal(t, 2*time.Second, web.Checks[2].Command.Timeout, "the check's")
	assert.Equal(t, "command", cfg.Notify[1].Name)
	assert.Equal(t, 30*time.Second, cfg.Notify[1].Command.Timeout)
	assert.NotSame(t, pg.Validate.Window, web.Validate.Window)
}

func TestExplicitZeroIsKept(t *testing.T) {
	cfg, err := Parse("shivx.yaml", []byte(minimal+"    validate: {window: 0s}\n    limits: {cooldown: 0s}\n"), testKnown)
	require.NoError(t, err)
	assert.Zero(t, *cfg.Components[0].Validate.Window)
	assert.Zero(t, cfg.Components[0].Limits.Cooldown)
}

const minimal = `version: 1
host: test
components:
  - name: demo
    checks: [{tcp: {address: "localhost:1"}}]
`

func TestDefault(t *testing.T) {
	cfg, err := Parse("shivx.yaml", []byte("version: 1\npaths: {var: /v}\n"), Known{})
	require.NoError(t, err)
	want := Default()
	want.Paths.Var, want.Resilience.FlagsFile = "/v", "/v/resilience/flags.json"
	want.Golden.Store.Path = "/v/golden"
	want.Golden.Sets[0].Paths, want.Golden.Sets[0].Exclude = cfg.Golden.Sets[0].Paths, cfg.Golden.Sets[0].Exclude // of the file's folder
	assert.Equal(t, want, cfg)
	assert.Equal(t, "127.0.0.1:9470", want.API.Listen)
	assert.Equal(t, 10*time.Second, want.Defaults.Every)
}

func TestDefaultVarFolderIsBesideTheFile(t *testing.T) {
	cfg, err := Parse("/etc/shivx/shivx.yaml", []byte("version: 1\n"), Known{})
	require.NoError(t, err)
	assert.Equal(t, "/etc/shivx/var", cfg.Paths.Var)
}

func TestDefaultTagsAreReadable(t *testing.T) {
	for _, typ := range sections() {
		assert.NotPanics(t, func() { setDefaults(reflect.New(typ).Elem()) }, typ.Name())
	}
}

func TestOptionsJSON(t *testing.T) {
	src := minimal + `    ladder:
      - use: script
        with:
          big: 123456789012345678901234567890
          exact: 9007199254740993
          hex: 0x10
          nested: {list: [{a: 1}, null, true, 1.5, "1.5", 1e3], 1: one, true: yes}
          html: <a&b>
`
	cfg, err := Parse("shivx.yaml", []byte(src), testKnown)
	require.NoError(t, err)
	raw, err := cfg.Components[0].Ladder[0].OptionsJSON()
	require.NoError(t, err)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, raw))
	assert.Contains(t, compact.String(), `"big":123456789012345678901234567890,"exact":9007199254740993,"hex":16`)
	assert.Contains(t, compact.String(), `{"1":"one","list":[{"a":1},null,true,1.5,"1.5",1000],"true":"yes"}`)

	raw, err = Use{}.OptionsJSON()
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, string(raw))
}

func TestOrder(t *testing.T) {
	cfg := loadFull(t)
	assert.Equal(t, []string{"postgresql", "redis", "web"}, cfg.Order())
	cfg.Components[0], cfg.Components[2] = cfg.Components[2], cfg.Components[0]
	assert.Equal(t, []string{"postgresql", "redis", "web"}, cfg.Order())
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	src := `version: 1
host: test
components:
  - name: a
    checks: [{tcp: {address: "localhost:1"}}]
    limits: &careful
      heals: 2
      window: 3h
  - name: b
    checks: [{tcp: {address: "localhost:2"}}]
    limits:
      <<: *careful
      heals: 4
`
	cfg, err := Parse("shivx.yaml", []byte(src), testKnown)
	require.NoError(t, err)
	assert.Equal(t, 2, cfg.Components[0].Limits.Heals)
	assert.Equal(t, 4, cfg.Components[1].Limits.Heals)
	assert.Equal(t, 3*time.Hour, cfg.Components[1].Limits.Window)
}

func TestLoadOfAMissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"), testKnown)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestDocumentedExampleLoads keeps the examples of docs/CONFIG.md right.
func TestDocumentedExampleLoads(t *testing.T) {
	doc, err := os.ReadFile("../../docs/CONFIG.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(doc), "<!-- example -->\n```yaml\n")
	require.True(t, found)
	example, _, _ := strings.Cut(rest, "```")
	cfg, err := Parse("shivx.yaml", []byte(example), testKnown)
	require.NoError(t, err)
	assert.Equal(t, []string{"postgresql", "redis", "web"}, cfg.Order())

	_, rest, found = strings.Cut(string(doc), "<!-- guardian example -->\n```yaml\n")
	require.True(t, found)
	example, _, _ = strings.Cut(rest, "```")
	cfg, err = Parse("shivx.yaml", []byte(example), testKnown)
	require.NoError(t, err)
	assert.Len(t, cfg.Guardian.Logs, 3)
}

func TestOrigins(t *testing.T) {
	for text, want := range map[string]string{
		"https://web-1.example.org": "https://web-1.example.org", "https://Web-1.Example.org:8443/": "https://web-1.example.org:8443", "http://[::1]:9470": "http://[::1]:9470",
		"web-1.example.org": "", "ftp://h": "", "https://h/path": "", "https://ana@h": "", "https://h?": "", "https://h?x=1": "", "https://h#x": "", "https://h:0": "", "https://": "",
	} {
		fixed, message, _ := checkOrigin(text, "")
		if want == "" {
			assert.NotEmpty(t, message, text)
			continue
		}
		assert.Empty(t, message, text)
		assert.Equal(t, want, fixed)
	}
}

func TestPatternsOfNames(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"shop", "shop", true}, {"shop", "shop-2", false}, {"shop", "", false}, {"worker-*", "worker-", true},
		{"worker-*", "worker-eu.1_a", true}, {"worker-*", "a-worker-1", false}, {"worker-?", "worker-12", false}, {"*", "shop", true},
		{"*", "a/b", false}, {"*", "../../etc", false}, {"[a-z]*", "shop", true}, {"[", "[", false},
	} {
		assert.Equal(t, c.want, MatchName(c.pattern, c.name), "%s %s", c.pattern, c.name)
	}
}
