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

// TestExamplesOfTheDocumentAreValid reads every example as a part of a configuration.
func TestExamplesOfTheDocumentAreValid(t *testing.T) {
	text, err := os.ReadFile("../../docs/BUILTIN-PLUGINS.md")
	require.NoError(t, err)
	plugins, used := All(Options{}), map[string]int{}
	known := config.Known{Plugins: map[string]config.PluginInfo{}}
	for name, p := range plugins {
		check := p.(sdk.OptionsChecker).CheckOptions
		if name == "script" { // its programs are not on this machine
			check = func(options json.RawMessage) error { return sdk.Decode(options, &scriptOptions{}) }
		}
		known.Plugins[name] = config.PluginInfo{CheckOptions: func(options json.RawMessage) error {
			used[name]++
			return check(options)
		}}
	}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		example := "version: 1\ncomponents:\n- name: example\n  checks: [{tcp: {address: 'localhost:80'}}]\n"
		if strings.HasPrefix(block[1], "resilience:") {
			example = "version: 1\n" + block[1]
		} else {
			example += regexp.MustCompile(`(?m)^`).ReplaceAllString(block[1], "  ")
		}
		_, err := config.Parse("/etc/shivx/shivx.yaml", []byte(example), known)
		require.NoError(t, err, "%s", example)
	}
	for name := range plugins {
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
