package builtin

import (
	"os"
	"regexp"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/sdk"
)

// TestExamplesOfTheDocumentAreValid checks the options of every example.
func TestExamplesOfTheDocumentAreValid(t *testing.T) {
	text, err := os.ReadFile("../../docs/BUILTIN-PLUGINS.md")
	require.NoError(t, err)
	plugins, checked := All(Options{}), map[string]int{}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1) {
		var example struct {
			Isolate map[string]any
			Ladder  []map[string]any
		}
		require.NoError(t, yaml.Unmarshal(block[1], &example), "%s", block[1])
		for _, use := range append(example.Ladder, example.Isolate) {
			if use == nil {
				continue
			}
			name, _ := use["use"].(string)
			require.NoError(t, plugins[name].(sdk.OptionsChecker).CheckOptions(jsonOf(t, use["with"])), "%s", block[1])
			checked[name]++
		}
	}
	for name := range plugins {
		if name != "script" {
			require.Positive(t, checked[name], "the document has no example of %s", name)
		}
	}
}
