package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/builtin"
)

// systemConfig is where the agent of a host looks for its configuration.
const systemConfig = "/etc/shivx/shivx.yaml"

func (a *app) configCommand() *cobra.Command {
	return group("config", "Check configuration files", a.configCheckCommand(), a.configSchemaCommand())
}

func (a *app) configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Report everything that is wrong in a configuration file",
		Long: `Report everything that is wrong in a configuration file, each with its line. Without FILE it is the
one of --config, else $SHIVX_CONFIG, ./shivx.yaml or ` + systemConfig + `.
Exit code 0: the file is good; 2: it is not.`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: a.does(func(_ *cobra.Command, args []string) error {
			path := a.configPath()
			if len(args) == 1 {
				path = args[0]
			}
			if path == "" {
				path = systemConfig
			}
			return a.checkConfig(path)
		}),
	}
}

// configReport is the JSON document of a check.
type configReport struct {
	File       string           `json:"file"`
	OK         bool             `json:"ok"`
	Components []string         `json:"components,omitempty"`
	Problems   []config.Problem `json:"problems"`
}

func (a *app) checkConfig(path string) error {
	cfg, err := config.Load(path, builtin.Known())
	problems, isProblem := problemsOf(err)
	if err != nil && !isProblem {
		return withCode(exitUsage, err)
	}
	r := configReport{File: path, OK: err == nil, Problems: append([]config.Problem{}, problems...)}
	if cfg != nil {
		r.Components = cfg.Order()
	}
	switch {
	case a.json():
		if err := a.document(r); err != nil {
			return err
		}
	case r.OK:
		a.out.printf("%s: good; host %s, components in healing order: %s", path, cfg.Host, strings.Join(r.Components, ", "))
	default:
		a.printProblems(path, problems)
	}
	if !r.OK {
		return quiet(exitUsage)
	}
	return nil
}

// printProblems prints each problem with its source line.
func (a *app) printProblems(path string, problems config.Errors) {
	source, err := os.ReadFile(path)
	if err != nil {
		source = nil // the problems are told without their lines
	}
	var b bytes.Buffer
	_ = problems.Format(&b, source) // a buffer takes everything
	for l := range strings.SplitSeq(strings.TrimSuffix(b.String(), "\n"), "\n") {
		a.err.line(normal, l)
	}
	a.err.line(red, fmt.Sprintf("%s: %s", path, count(len(problems), "problem")))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (a *app) configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the configuration, for editors", Args: cobra.NoArgs,
		Example: `  shivx config schema > shivx.schema.json
  # and in the first line of shivx.yaml:
  # yaml-language-server: $schema=shivx.schema.json`,
		RunE: a.does(func(*cobra.Command, []string) error {
			_, err := io.Copy(a.out.w, bytes.NewReader(config.Schema()))
			return err
		}),
	}
}

// configPath is the configuration file meant without being named; "" when there is none but
// perhaps the system's.
func (a *app) configPath() string {
	for _, path := range []string{a.config, os.Getenv("SHIVX_CONFIG")} {
		if path != "" {
			return path
		}
	}
	if _, err := os.Stat("shivx.yaml"); err == nil {
		return "shivx.yaml"
	}
	return ""
}

// loadConfig reads a configuration that a command needs.
func (a *app) loadConfig(path string) (*config.Config, error) {
	cfg, err := config.Load(path, builtin.Known())
	if problems, ok := problemsOf(err); ok {
		a.printProblems(path, problems)
		return nil, quiet(exitUsage)
	}
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	return cfg, nil
}

// agentConfig is the configuration of this host's agent; nil when there is none.
func (a *app) agentConfig() (*config.Config, error) {
	path := a.configPath()
	if link, err := filepath.EvalSymlinks(filepath.Join("var", config.Link)); path == "" && err == nil {
		path = link // that of the agent whose folder lies here
	}
	if path == "" {
		if _, err := os.Stat(filepath.Join("var", config.OperationalLedger)); err == nil {
			return nil, nil
		}
		if _, err := os.Stat(systemConfig); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		path = systemConfig
	}
	return a.loadConfig(path)
}

// varFolder is the folder in which the agent keeps its files, and the agent's host if it is
// known: of --var, else of the configuration.
func (a *app) varFolder(given string) (dir, host string, err error) {
	if given != "" {
		return given, "", nil
	}
	cfg, err := a.agentConfig()
	if err != nil {
		return "", "", err
	}
	if cfg == nil {
		return "var", "", nil
	}
	return cfg.Paths.Var, cfg.Host, nil
}
