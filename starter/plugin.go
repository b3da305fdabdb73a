package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx/plugins/builtin"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/scaffold"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

func (a *app) pluginCommand() *cobra.Command {
	return group("plugin", "Write, check and list recovery plugins",
		a.pluginNewCommand(), a.pluginListCommand(), a.pluginTestCommand(), a.pluginSumCommand())
}

func (a *app) pluginNewCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "new NAME", Short: "Write a plugin in Go to begin with: it builds, works and has a test",
		Args: cobra.ExactArgs(1),
		RunE: a.does(func(_ *cobra.Command, args []string) error {
			if dir == "" {
				dir = args[0]
			}
			if err := scaffold.New(dir, args[0]); err != nil {
				return withCode(exitUsage, err)
			}
			if a.json() {
				return a.document(map[string]string{"name": args[0], "dir": dir})
			}
			a.out.printf("%s: a plugin that works; its README.md says how to go on", dir)
			a.out.printf("  cd %s && go mod tidy && go test ./... && go build", dir)
			return nil
		}),
	}
	c.Flags().StringVar(&dir, "dir", "", "folder to write to, new or empty; else ./NAME")
	return c
}

// pluginView is one plugin as it is shown.
type pluginView struct {
	Name        string     `json:"name"`
	Path        string     `json:"path,omitempty"`
	Type        string     `json:"type,omitempty"`
	Version     string     `json:"version,omitempty"`
	Steps       []sdk.Step `json:"steps,omitempty"`
	Destructive bool       `json:"destructive,omitempty"`
	Summary     string     `json:"summary,omitempty"`
	Error       string     `json:"error,omitempty"`
	Hint        string     `json:"hint,omitempty"`
}

func (a *app) pluginListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the built-in plugins and those of the configuration",
		Long: `List the built-in plugins and those of the configuration, which are started to be asked what they
are. The exit code is 1 when one of them cannot be used.`,
		Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error {
			specs, err := a.configuredPlugins()
			if err != nil {
				return err
			}
			set := host.New(builtin.All(builtin.Options{}), specs, slog.New(slog.DiscardHandler))
			defer set.Close()
			infos, err := set.Describe(cmd.Context())
			if err != nil {
				return fmt.Errorf("ask the plugins: %w", err)
			}
			return a.listPlugins(infos)
		}),
	}
}

func (a *app) configuredPlugins() ([]host.Spec, error) {
	path := a.configPath()
	if path == "" {
		return nil, nil
	}
	cfg, err := a.loadConfig(path)
	if err != nil {
		return nil, err
	}
	var specs []host.Spec
	for _, p := range cfg.Plugins {
		specs = append(specs, host.Spec{Name: p.Name, Path: p.Path, Args: p.Args, SHA256: p.SHA256})
	}
	return specs, nil
}

func (a *app) listPlugins(infos []host.Info) error {
	views := make([]pluginView, len(infos))
	t := table{head: []string{"NAME", "TYPE", "VERSION", "STEPS", "CHANGES DATA", "WHAT IT DOES", "PATH"}, free: []int{3, 5, 6}}
	bad := 0
	for i, info := range infos {
		d := info.Description
		v := pluginView{Name: info.Name, Path: info.Path, Type: d.RecoveryType, Version: d.Version, Steps: d.Steps,
			Destructive: d.Destructive, Summary: d.Summary}
		what := text(v.Summary)
		if info.Err != nil {
			bad++
			v.Error, v.Hint = info.Err.Error(), hintOf(info.Err)
			what = cell{strings.TrimSuffix(v.Error+" — "+v.Hint, " — "), red}
		}
		views[i] = v
		t.add(text(v.Name), text(v.Type), text(v.Version), text(stepNames(v.Steps)), text(verb(v.Destructive, "yes", "")), what, text(v.Path))
	}
	if a.json() {
		if err := a.document(views); err != nil {
			return err
		}
	} else {
		a.out.table(t)
	}
	if bad > 0 {
		return quiet(exitError)
	}
	return nil
}

// stepNames lists the steps that people know; mark, done and check are between host and plugin.
func stepNames(steps []sdk.Step) string {
	var names []string
	for _, s := range steps {
		if s != sdk.StepMark && s != sdk.StepDone && s != sdk.StepCheck {
			names = append(names, string(s))
		}
	}
	return strings.Join(names, " ")
}

func (a *app) pluginTestCommand() *cobra.Command {
	var options string
	var timeout time.Duration
	c := &cobra.Command{
		Use: "test PATH [ARG…]", Short: "Check that a plugin keeps its contract",
		Long: `Start a plugin in any language as the agent does, and check what can be checked without a target
to break: its description, its options, steps it does not know, plans. The whole suite runs in the
plugin's own tests, against a real target (package sdktest). Exit code 1: it does not keep it.`,
		Example: `  shivx plugin test ./my-plugin --options '{"unit":"my.service"}'`,
		Args:    cobra.MinimumNArgs(1),
		RunE: a.does(func(cmd *cobra.Command, args []string) error {
			var object map[string]any
			if err := json.Unmarshal([]byte(options), &object); err != nil {
				return hint(usagef("--options is no JSON object: %v", err), `write it as '{"key":"value"}'`)
			}
			findings := sdktest.Check(cmd.Context(), sdktest.Suite{
				Command: args, Options: json.RawMessage(options), Timeout: timeout,
			})
			return a.testedPlugin(args[0], findings)
		}),
	}
	c.Flags().StringVar(&options, "options", "{}", "options of a strategy that uses the plugin, as one JSON object")
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long one step may take")
	return c
}

// pluginReport is the JSON document of a test.
type pluginReport struct {
	Plugin string        `json:"plugin"`
	OK     bool          `json:"ok"`
	Checks []pluginCheck `json:"checks"`
}

type pluginCheck struct {
	Check   string          `json:"check"`
	Verdict sdktest.Verdict `json:"verdict"`
	Message string          `json:"message,omitempty"`
	Hint    string          `json:"hint,omitempty"`
}

func (a *app) testedPlugin(path string, findings []sdktest.Finding) error {
	r := pluginReport{Plugin: path, OK: true}
	t := table{head: []string{"CHECK", "VERDICT", "WHY"}, free: []int{2}}
	styles := map[sdktest.Verdict]style{sdktest.Passed: green, sdktest.Skipped: faint, sdktest.Failed: red}
	for _, f := range findings {
		r.OK = r.OK && f.Verdict != sdktest.Failed
		r.Checks = append(r.Checks, pluginCheck(f))
		t.add(text(f.Check), cell{string(f.Verdict), styles[f.Verdict]}, text(strings.TrimSuffix(f.Message+" — "+f.Hint, " — ")))
	}
	if a.json() {
		if err := a.document(r); err != nil {
			return err
		}
	} else {
		a.out.table(t)
	}
	if !r.OK {
		return quiet(exitError)
	}
	return nil
}

func (a *app) pluginSumCommand() *cobra.Command {
	return &cobra.Command{
		Use: "sum PATH", Short: "Print the SHA-256 that pins a plugin in the configuration", Args: cobra.ExactArgs(1),
		RunE: a.does(func(_ *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("find %s: %w", args[0], err)
			}
			sum, err := host.Sum(path)
			if err != nil {
				return hint(err, "give the path of the plugin's executable")
			}
			if a.json() {
				return a.document(map[string]string{"path": path, "sha256": sum})
			}
			a.out.printf("path: %s", path)
			a.out.printf("sha256: %s", sum)
			return nil
		}),
	}
}
