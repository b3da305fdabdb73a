package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/workflows"
)

// hostView is one host as it is shown.
type hostView struct {
	Host string `json:"host"`
	// Level is "unknown" when no agent answers.
	Level  shivx.Level                 `json:"level"`
	Error  string                      `json:"error,omitempty"`
	Status *workflows.DegradationState `json:"status,omitempty"`
}

// levelUnknown is shown where no agent answers.
const levelUnknown shivx.Level = "unknown"

var levelStyles = map[shivx.Level]style{
	shivx.LevelNormal: green, shivx.Level1: yellow, shivx.Level2: yellow, shivx.Level3: red, shivx.LevelEmergency: red, levelUnknown: red,
}

func (a *app) levelCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "level [HOST]", Short: "Show how much hosts do, hold one at a level, or end that",
		Long: `Show the degradation level of every host, or all that is known of one:

  NORMAL     everything is on
  LEVEL_1    what is not critical is off, such as analytics
  LEVEL_2    advanced features are off as well, such as AI inference
  LEVEL_3    minimal: uploads and integrations are off as well
  EMERGENCY  the core only

It is what the hosts have told Temporal. On the host itself "shivx status --explain" says how its
level comes about, without Temporal.`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeHost,
		RunE: a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
			if len(args) == 1 {
				return a.showHost(ctx, f, args[0])
			}
			views, err := f.hostViews(ctx)
			if err != nil {
				return err
			}
			if a.json() {
				return a.document(views)
			}
			if len(views) == 0 {
				a.err.line(normal, "no host is known yet: is an agent up and connected to this Temporal?")
				return nil
			}
			a.out.table(hostTable(views))
			return nil
		}),
	}
	c.AddCommand(a.levelSetCommand(), a.levelClearCommand())
	return c
}

// hosts lists the hosts whose DegradationResponse runs, sorted.
func (f *fleet) hosts(ctx context.Context) ([]string, error) {
	query := fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", shivx.TypeDegradationResponse)
	var found []string
	for token := []byte(nil); ; {
		list, err := f.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: f.namespace, Query: query, PageSize: page, NextPageToken: token})
		if err != nil {
			return nil, explain("list the hosts", err)
		}
		for _, e := range list.Executions {
			if host, ok := strings.CutPrefix(e.Execution.WorkflowId, shivx.DegradationID("")); ok && host != "" {
				found = append(found, host)
			}
		}
		if token = list.NextPageToken; len(token) == 0 {
			slices.Sort(found)
			return slices.Compact(found), nil
		}
	}
}

// host returns the host that is meant; "" means the only one there is.
func (f *fleet) host(ctx context.Context, name string) (string, error) {
	if name != "" && !safeName.MatchString(name) {
		return "", hint(usagef("%q is not the name of a host", name), "shivx level lists them")
	}
	all, err := f.hosts(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case slices.Contains(all, name):
		return name, nil
	case name == "" && len(all) == 1:
		return all[0], nil
	case name == "" && len(all) > 1:
		return "", hint(usagef("there are several hosts"), "say which with --host: "+strings.Join(all, ", "))
	case len(all) == 0:
		return "", hint(fmt.Errorf("no host is known yet"), "is an agent up and connected to this Temporal?")
	}
	err = fmt.Errorf("there is no host %s", name)
	if near := sdk.Nearest(name, all); near != "" {
		return "", hint(err, "did you mean "+near+"?")
	}
	return "", hint(err, "shivx level lists them")
}

func (f *fleet) degradation(ctx context.Context, host string) (workflows.DegradationState, error) {
	return query[workflows.DegradationState](ctx, f, shivx.DegradationID(host), "", shivx.QueryStatus)
}

// hostViews asks for all hosts, a few at a time.
func (f *fleet) hostViews(ctx context.Context) ([]hostView, error) {
	all, err := f.hosts(ctx)
	if err != nil {
		return nil, err
	}
	views := make([]hostView, len(all))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, host := range all {
		group.Go(func() error {
			views[i] = hostViewOf(host)(f.degradation(ctx, host))
			return ctx.Err()
		})
	}
	return views, group.Wait()
}

func hostViewOf(host string) func(workflows.DegradationState, error) hostView {
	return func(s workflows.DegradationState, err error) hostView {
		v := hostView{Host: host, Level: levelUnknown}
		if err != nil {
			v.Error = err.Error()
			return v
		}
		v.Status = &s
		if l := s.LevelNow(); l != "" {
			v.Level = l
		}
		return v
	}
}
