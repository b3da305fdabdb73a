package builtin

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// knownPlugins are the built-in ones; used counts what was asked of each.
func knownPlugins(used map[string]int) config.Known {
	known := Known()
	for name, info := range known.Plugins {
		check := info.CheckOptions
		if name == "script" { // its programs are not on this machine
			info.CheckOptionsFor = nil
			check = func(options json.RawMessage) error { return sdk.Decode(options, &scriptOptions{}) }
		}
		checkFor := info.CheckOptionsFor
		info.CheckOptions = func(options json.RawMessage) error {
			used[name]++
			return check(options)
		}
		if checkFor != nil {
			info.CheckOptionsFor = func(step string, options json.RawMessage) error {
				used[name]++
				return checkFor(step, options)
			}
		}
		known.Plugins[name] = info
	}
	return known
}

// examples are the blocks of YAML in a document.
func examples(t *testing.T, document string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + document)
	require.NoError(t, err)
	var list []string
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		list = append(list, block[1])
	}
	require.NotEmpty(t, list)
	return list
}

// TestExamplesOfTheDocumentAreValid reads every example as a part of a configuration.
func TestExamplesOfTheDocumentAreValid(t *testing.T) {
	used := map[string]int{}
	known := knownPlugins(used)
	for _, block := range examples(t, "BUILTIN-PLUGINS.md") {
		example := "version: 1\ncomponents:\n- name: example\n  checks: [{tcp: {address: 'localhost:80'}}]\n"
		if strings.HasPrefix(block, "resilience:") {
			example = "version: 1\n" + block
		} else {
			example += regexp.MustCompile(`(?m)^`).ReplaceAllString(block, "  ")
		}
		_, err := config.Parse("/etc/shivx/shivx.yaml", []byte(example), known)
		require.NoError(t, err, "%s", example)
	}
	for name := range known.Plugins {
		require.Positive(t, used[name], "the document has no example of %s", name)
	}
}

// TestExamplesOfMitigationsAreValid reads every example of FORECAST.md that is a configuration, and sees that each
// action has its plugin.
func TestExamplesOfMitigationsAreValid(t *testing.T) {
	used := map[string]int{}
	known := knownPlugins(used)
	read := 0
	for _, block := range examples(t, "FORECAST.md") {
		_, err := config.Parse("/etc/shivx/shivx.yaml", []byte("version: 1\n"+block), known)
		require.NoError(t, err, "%s", block)
		read++
	}
	require.GreaterOrEqual(t, read, 6)
	for _, name := range []string{"disk", "systemd", "cgroup", "prewarm", "script", "http", "network"} {
		require.Positive(t, used[name], "the document has no example of %s", name)
	}
}

// TestTheDocumentNamesWhatMayBeSet compares its lists with the tables.
func TestTheDocumentNamesWhatMayBeSet(t *testing.T) {
	text, err := os.ReadFile("../../docs/BUILTIN-PLUGINS.md")
	require.NoError(t, err)
	for name := range knobs() {
		require.Contains(t, string(text), "`"+name+"`")
	}
	for name := range propertyKinds() {
		require.Contains(t, string(text), "`"+name+"`")
	}
}
