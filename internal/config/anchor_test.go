package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOptionPathsBeginAtTheFile(t *testing.T) {
	src := `version: 1
host: h
components:
  - name: demo
    checks: [{tcp: {address: "127.0.0.1:1"}}]
    ladder:
      - use: anything
        with: {start: [./bin/demo, -dir, ../var, plain, "a./b"], nested: {pid: ./x.pid}}
`
	cfg, err := Parse("/etc/shivx/shivx.yaml", []byte(src), Known{Plugins: map[string]PluginInfo{"anything": {}}})
	require.NoError(t, err)
	got, err := cfg.Components[0].Ladder[0].OptionsJSON()
	require.NoError(t, err)
	require.JSONEq(t, `{"start":["/etc/shivx/bin/demo","-dir","/etc/var","plain","a./b"],"nested":{"pid":"/etc/shivx/x.pid"}}`, string(got))
}
