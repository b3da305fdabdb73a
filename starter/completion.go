package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// completionPatience is how long a shell waits for names after the tab key.
const completionPatience = time.Second

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print a script that completes shivx in a shell",
		Long: `Print a script that completes commands, flags and the names of components.

  bash:  source <(shivx completion bash)
  zsh:   source <(shivx completion zsh)
  fish:  shivx completion fish | source`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: a.does(func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.out.w, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.out.w)
			default:
				return cmd.Root().GenFishCompletion(a.out.w, true)
			}
		}),
	}
}

// completeFirst completes the first argument with what list finds in the fleet.
func (a *app) completeFirst(cmd *cobra.Command, args []string, list func(context.Context, *fleet) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	f, err := a.connect(ctx, completionPatience)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer f.client.Close()
	names, err := list(ctx, f)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeComponent completes the first argument with the names of components.
func (a *app) completeComponent(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeFirst(cmd, args, func(ctx context.Context, f *fleet) ([]string, error) {
		all, err := f.entities(ctx, "", "")
		hosts := map[string]int{}
		for _, e := range all {
			hosts[e.Component]++
		}
		var names []string
		for _, e := range all {
			name := e.String()
			if hosts[e.Component] == 1 {
				name = e.Component
			}
			names = append(names, clean(name)+"\ton "+clean(e.Host))
		}
		return names, err
	})
}
