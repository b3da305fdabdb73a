package builtin

import (
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/shivx/shivx"
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
			check = func(options json.RawMessage) error { return hinted(c.CheckOptions(options)) }
		}
		info := config.PluginInfo{CheckOptions: check}
		if c, ok := p.(sdk.StepOptionsChecker); ok {
			info.CheckOptionsFor = func(step string, options json.RawMessage) error {
				return hinted(c.CheckOptionsFor(sdk.Step(step), options))
			}
		}
		for _, step := range []sdk.Step{sdk.StepIsolate, sdk.StepRecover} {
			if !sdk.Describe(p).Can(step) {
				info.Cannot = append(info.Cannot, string(step))
			}
		}
		known.Plugins[name] = info
	}
	return known
}

// hinted gives an error about an option its hint in the form the rest of ShivX knows.
func hinted(err error) error {
	if bad, ok := errors.AsType[*sdk.OptionError](err); ok && bad.Fail.Hint != "" {
		return shivx.Hint(err, bad.Fail.Hint)
	}
	return err
}
