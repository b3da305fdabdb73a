// Command shivx is the command line of ShivX: it heals components, shows what was done, and
// checks configurations, ledgers and plugins.
//
// Each command stands in a file of its own. What they share: connect.go talks to Temporal,
// table.go and text.go print, errors.go maps errors to exit codes.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// app is one call of the command line.
type app struct {
	out screen
	err screen

	output    string
	address   string
	namespace string
	config    string
	agentAt   string
	// insecure lets the agent's token cross the network unencrypted.
	insecure bool
	noColor  bool
	wide     bool

	// witnesses is what the witness of a host was asked already.
	witnesses map[string]kept

	// bare is what golden commands are given where there is no configuration.
	bare bareStore

	// documented is set once a JSON document was printed.
	documented bool
	// began is set once a command's own code runs: an error before is one of usage.
	began bool
}

// run executes one command line and returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: newScreen(stdout), err: newScreen(stderr)}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(cmd, err)
}

const exitCodes = `Exit codes:
  0  done; the component is healed
  1  error
  2  bad usage or configuration
  3  not healed: failed, aborted, or no agent answers
  4  the ledger was tampered with, or a watched file, or a golden is damaged
  5  refused: busy, in maintenance, or not allowed
  6  Temporal cannot be reached`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "shivx",
		Short: "Heal services, durably",
		Long: `shivx heals components, shows what was done, and checks configurations, ledgers and plugins.

Where Temporal is comes from --address, else from the environment or Temporal's profile file
(TEMPORAL_ADDRESS, TEMPORAL_PROFILE, …), else it is 127.0.0.1:7233. What only the agent of a host
knows is asked of the agent: the one of the configuration, else at 127.0.0.1:9470. Its token is read
from its folder, or is $SHIVX_TOKEN.

` + exitCodes,
		Args:                       noSuchCommand,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE:          func(*cobra.Command, []string) error { return a.checkGlobals() },
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.output, "output", "o", "table", "what is printed: table or json")
	f.StringVar(&a.address, "address", "", "HOST:PORT of Temporal")
	f.StringVar(&a.namespace, "namespace", "", "namespace in Temporal")
	f.StringVar(&a.config, "config", "", "configuration file of the agent; else $SHIVX_CONFIG or ./shivx.yaml")
	f.StringVar(&a.agentAt, "agent", "", "HOST:PORT of the agent; else $SHIVX_AGENT, or as in its configuration")
	f.BoolVar(&a.insecure, "insecure", false, "send the agent's token unencrypted over the network, too: by http:// to another host")
	f.BoolVar(&a.noColor, "no-color", false, "print without colours; so does $NO_COLOR")
	f.BoolVar(&a.wide, "wide", false, "do not cut long cells to the terminal's width")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddGroup(&cobra.Group{ID: "heal", Title: "Healing:"}, &cobra.Group{ID: "check", Title: "Checking and setting up:"})
	for _, c := range []*cobra.Command{
		a.healCommand(), a.statusCommand(), a.runsCommand(), a.approveCommand(), a.pauseCommand(),
		a.resumeCommand(), a.abortCommand(), a.componentCommand(), a.levelCommand(), a.guardianCommand(), a.goldenCommand(), a.forecastCommand(), a.mitigateCommand(), a.schedulesCommand(), a.metricsCommand(),
	} {
		c.GroupID = "heal"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{
		a.configCommand(), a.loginCommand(), a.ledgerCommand(), a.pluginCommand(), a.completionCommand(), a.versionCommand(),
	} {
		c.GroupID = "check"
		root.AddCommand(c)
	}
	root.SetHelpCommandGroupID("check")
	return root
}

// checkGlobals applies the global flags.
func (a *app) checkGlobals() error {
	if a.output != "table" && a.output != "json" {
		return hint(usagef("--output %s is not known", a.output), "write table or json")
	}
	colour := !a.noColor && os.Getenv("NO_COLOR") == ""
	a.out.colour = a.out.colour && colour
	a.err.colour = a.err.colour && colour
	a.out.wide, a.err.wide = a.wide, a.wide
	return nil
}

func (a *app) json() bool { return a.output == "json" }

// does marks the start of a command's own code.
func (a *app) does(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.began = true
		return f(cmd, args)
	}
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: noSuchCommand, SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return hint(usagef("%s needs a command", cmd.CommandPath()), "see: "+cmd.CommandPath()+" --help")
		},
	}
	c.AddCommand(subs...)
	return c
}

// noSuchCommand refuses arguments of a command that only holds others.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usagef("%s has no command %q", cmd.CommandPath(), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return hint(err, "did you mean "+near[0]+"?")
	}
	return hint(err, "see: "+cmd.CommandPath()+" --help")
}
