package config

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPluginsAreUsedForWhatTheyCan: a plugin that only isolates is no strategy, and the other way round.
func TestPluginsAreUsedForWhatTheyCan(t *testing.T) {
	const src = `version: 1
components:
  - name: shop
    checks: [{tcp: {address: "127.0.0.1:80"}}]
    isolate: {use: restart}
    ladder: [{name: freeze-it, use: freeze}]
resilience:
  hooks:
    - {name: batch, level: LEVEL_1, use: restart}
    - name: workers
      level: LEVEL_2
      use: freeze
      with:
        set:
          cpu.max: a lot
`
	known := Known{Plugins: map[string]PluginInfo{
		"restart": {Cannot: []string{"isolate"}},
		"freeze": {Cannot: []string{"recover"}, CheckOptions: func(json.RawMessage) error {
			return badOption{"set.cpu.max", "is too much"}
		}},
	}}
	_, err := Parse("/etc/shivx/shivx.yaml", []byte(src), known)
	var problems *Errors
	require.ErrorAs(t, err, &problems)
	require.Len(t, *problems, 4)
	require.ErrorContains(t, err, `plugin "restart" cannot isolate`)
	require.ErrorContains(t, err, `plugin "freeze" cannot recover`)
	for _, p := range *problems {
		if p.Hint == "" {
			require.Equal(t, 15, p.Line, "the key with a dot in it is not pointed at: %s", p.Message)
		}
	}
}
