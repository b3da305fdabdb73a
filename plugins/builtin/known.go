package builtin

import (
	"encoding/json"
	"log/slog"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// Known tells the configuration reader which built-in plugins there are and what options they
// take. It opens nothing.
func Known() config.Known {
	known := config.Known{Plugins: map[string]config.PluginInfo{}}
	for name, p := range All(Options{Logger: slog.New(slog.DiscardHandler)}) {
		var check func(json.RawMessage) error
		if c, ok := p.(sdk.OptionsChecker); ok {
			check = c.CheckOptions
		}
		info := config.PluginInfo{CheckOptions: check}
		for _, step := range []sdk.Step{sdk.StepIsolate, sdk.StepRecover} {
			if !sdk.Describe(p).Can(step) {
				info.Cannot = append(info.Cannot, string(step))
			}
		}
		known.Plugins[name] = info
	}
	return known
}
