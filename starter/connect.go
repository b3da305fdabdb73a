package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	sdklog "go.temporal.io/sdk/log"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/workflows"
)

const (
	dialPatience = 5 * time.Second
	// answerPatience is how long an agent may take to answer a query or to take an update on.
	answerPatience = 10 * time.Second
	// atOnce bounds the questions asked at the same time.
	atOnce = 8
	// page is how many runs are asked for at a time.
	page = 200
)

// fleet is what Temporal knows of all hosts.
type fleet struct {
	client    client.Client
	namespace string
}

// connect connects to Temporal. The caller closes the fleet's client.
func (a *app) connect(ctx context.Context, patience time.Duration) (*fleet, error) {
	o, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, withCode(exitUsage, hint(fmt.Errorf("read Temporal's client configuration: %w", err),
			"check the TEMPORAL_… variables and the profile file"))
	}
	if a.address != "" {
		o.HostPort = a.address
	}
	if o.HostPort == "" {
		o.HostPort = "127.0.0.1:7233"
	}
	if a.namespace != "" {
		o.Namespace = a.namespace
	}
	if o.Namespace == "" {
		o.Namespace = client.DefaultNamespace
	}
	o.Logger = sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.NewLazyClient(o)
	if err != nil {
		return nil, withCode(exitUsage, hint(fmt.Errorf("connect to Temporal: %w", err), "check --address and the TEMPORAL_… variables"))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err = refused(ctx, o.HostPort); err == nil {
		_, err = c.CheckHealth(ctx, &client.CheckHealthRequest{})
	}
	if err != nil {
		c.Close()
		return nil, withCode(exitUnreachable, hint(fmt.Errorf("no answer from Temporal at %s: %w", o.HostPort, err),
			"start it (make run), or say where it is with --address or TEMPORAL_ADDRESS"))
	}
	return &fleet{client: c, namespace: o.Namespace}, nil
}

// refused finds out at once that nobody listens on this machine; the client would keep trying.
func refused(ctx context.Context, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	if err == nil {
		_ = conn.Close()
	}
	return nil
}

// onFleet is does for commands that talk to Temporal.
func (a *app) onFleet(f func(ctx context.Context, fl *fleet, args []string) error) func(*cobra.Command, []string) error {
	return a.does(func(cmd *cobra.Command, args []string) error {
		fl, err := a.connect(cmd.Context(), dialPatience)
		if err != nil {
			return err
		}
		defer fl.client.Close()
		return f(cmd.Context(), fl, args)
	})
}

// entity is the Component workflow of one component on one host.
type entity struct {
	shivx.Target
	queue string
}

// entities lists the entities that run, sorted; component and host narrow the search unless "".
func (f *fleet) entities(ctx context.Context, component, host string) ([]entity, error) {
	query := fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", shivx.TypeComponent) +
		where(shivx.AttrComponent, component) + where(shivx.AttrHost, host)
	var found []entity
	for token := []byte(nil); ; {
		list, err := f.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: f.namespace, Query: query, PageSize: page, NextPageToken: token})
		if err != nil {
			return nil, explain("list the components", err)
		}
		for _, e := range list.Executions {
			t, err := shivx.ParseTarget(strings.TrimPrefix(e.Execution.WorkflowId, "component/"))
			if err == nil && t.Host != "" {
				found = append(found, entity{t, e.TaskQueue})
			}
		}
		if token = list.NextPageToken; len(token) == 0 {
			break
		}
	}
	slices.SortFunc(found, func(a, b entity) int { return strings.Compare(a.String(), b.String()) })
	return found, nil
}

// where is a condition on a search attribute; value was checked by target or is a constant.
func where(attribute, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf(" AND %s = '%s'", attribute, value)
}

// safeName is what may stand in a query to Temporal and in a workflow id.
var safeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)

// target reads NAME or NAME@HOST.
func target(arg string) (shivx.Target, error) {
	t, err := shivx.ParseTarget(arg)
	if err != nil {
		return t, withCode(exitUsage, err)
	}
	if !safeName.MatchString(t.Component) || t.Host != "" && !safeName.MatchString(t.Host) {
		return t, hint(usagef("%q is not the name of a component", arg), "write NAME or NAME@HOST; shivx status lists them")
	}
	return t, nil
}

// find returns the one entity that arg, NAME or NAME@HOST, means.
func (f *fleet) find(ctx context.Context, arg string) (entity, error) {
	t, err := target(arg)
	if err != nil {
		return entity{}, err
	}
	found, err := f.entities(ctx, t.Component, t.Host)
	if err != nil {
		return entity{}, err
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return entity{}, f.unknown(ctx, arg)
	}
	names := make([]string, len(found))
	for i, e := range found {
		names[i] = e.String()
	}
	return entity{}, hint(usagef("%s is on several hosts", arg), "say which: "+strings.Join(names, ", "))
}

// unknown says that no component of that name runs, and which comes near.
func (f *fleet) unknown(ctx context.Context, arg string) error {
	err := fmt.Errorf("no host has a component %s", arg)
	all, listErr := f.entities(ctx, "", "")
	if listErr != nil || len(all) == 0 {
		return hint(err, "no component is known yet: is an agent up and connected to this Temporal?")
	}
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.String()
		if !strings.Contains(arg, "@") {
			names[i] = e.Component
		}
	}
	if near := sdk.Nearest(arg, names); near != "" {
		return hint(err, "did you mean "+near+"?")
	}
	return hint(err, "shivx status lists all components")
}

// query asks a workflow; runID may be "" for the latest run.
func query[T any](ctx context.Context, f *fleet, workflowID, runID, name string) (T, error) {
	var out T
	limited, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	v, err := f.client.QueryWorkflow(limited, workflowID, runID, name)
	if err == nil {
		err = v.Get(&out)
	}
	if err == nil {
		return out, nil
	}
	return out, explain("ask "+workflowID, inTime(ctx, limited, err))
}

// inTime replaces the many errors by which a call that was cut off at the end of limited may end.
// The server counts the same time and can be the first to end it.
func inTime(ctx, limited context.Context, err error) error {
	const nearly = 500 * time.Millisecond
	end, _ := limited.Deadline()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case time.Until(end) < nearly:
		return context.DeadlineExceeded
	}
	return err
}

func (f *fleet) state(ctx context.Context, t shivx.Target) (workflows.ComponentState, error) {
	return query[workflows.ComponentState](ctx, f, shivx.ComponentID(t), "", shivx.QueryStatus)
}

// update asks a workflow for a change and waits for its answer. The workflow must take it on
// within answerPatience; how long it then works on it is its own matter.
func update[T any](ctx context.Context, f *fleet, workflowID, runID, name string, arg any) (T, error) {
	out, err := request[T](ctx, f, workflowID, runID, name, arg)
	return out, explain(name+" "+workflowID, err)
}

// request is update with the error as Temporal gives it.
func request[T any](ctx context.Context, f *fleet, workflowID, runID, name string, arg any) (T, error) {
	var out T
	limited, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	h, err := f.client.UpdateWorkflow(limited, client.UpdateWorkflowOptions{
		UpdateID: uuid.NewString(), WorkflowID: workflowID, RunID: runID, UpdateName: name, Args: []any{arg},
		WaitForStage: client.WorkflowUpdateStageAccepted,
	})
	if err = inTime(ctx, limited, err); err == nil {
		err = h.Get(ctx, &out)
	}
	return out, err
}

// me is who asks, unless --by says otherwise.
func me() string {
	for _, v := range []string{"SUDO_USER", "USER"} {
		if name := os.Getenv(v); name != "" {
			return name
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
