package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/builtin"
)

// linkConfig leaves a link to the configuration in the agent's folder, by which commands find it.
func (a *Agent) linkConfig() error {
	if a.cfg.File == "" {
		return nil
	}
	return renameio.Symlink(a.cfg.File, filepath.Join(a.cfg.Paths.Var, config.Link))
}

// Load reads the configuration; what is wrong with it is printed to w with the lines it is in.
func Load(path string, w io.Writer) (*config.Config, error) {
	cfg, err := config.Load(path, builtin.Known())
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
