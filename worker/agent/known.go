package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/builtin"
	"github.com/shivx/shivx/plugins/sdk"
)

// Known tells the configuration reader which built-in plugins there are and what options they
// take. It opens nothing.
func Known() config.Known {
	known := config.Known{Plugins: map[string]config.PluginInfo{}}
	for name, p := range builtin.All(builtin.Options{Logger: slog.New(slog.DiscardHandler)}) {
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

// Load reads the configuration; what is wrong with it is printed to w with the lines it is in.
func Load(path string, w io.Writer) (*config.Config, error) {
	cfg, err := config.Load(path, Known())
	var problems *config.Errors
	if !errors.As(err, &problems) {
		return cfg, err
	}
	source, readErr := os.ReadFile(path)
	if readErr != nil {
		source = nil // the problems are told without their lines
	}
	if printErr := problems.Format(w, source); printErr != nil {
		return nil, errors.Join(err, printErr)
	}
	return nil, fmt.Errorf("%s: %d problem(s)", path, len(*problems))
}
