package golden

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/internal/config"
)

// runsRead is in how many runs of a set its host is looked for, the newest first.
const runsRead = 100

// Locator finds the host of a set that was named without one.
type Locator struct {
	Client client.Client
	Config *config.Config
}

// Register binds the activity to its wire name; it runs on the queue of the runbooks.
func (l *Locator) Register(r worker.ActivityRegistry) { activities.LocateSet.Register(r, l.LocateSet) }

// LocateSet returns the only host that is known to have the set: by the configuration of the agent that is
// asked, and by the runs of the set that Temporal remembers.
func (l *Locator) LocateSet(ctx context.Context, in activities.LocateSetInput) (shivx.GoldenTarget, error) {
	var hosts []string
	if _, ok := l.Config.GoldenSet(in.Set); ok {
		hosts = append(hosts, l.Config.Host)
	}
	list, err := l.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: runsRead, Query: fmt.Sprintf("%s = '%s'", shivx.AttrSet, strings.ReplaceAll(in.Set, "'", "")),
	})
	if err != nil {
		return shivx.GoldenTarget{}, fmt.Errorf("look for the runs of the set %s: %w", in.Set, err)
	}
	for _, run := range list.GetExecutions() {
		var host string
		err := converter.GetDefaultDataConverter().FromPayload(run.GetSearchAttributes().GetIndexedFields()[shivx.AttrHost], &host)
		if err == nil && host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	switch len(hosts) {
	case 1:
		return shivx.GoldenTarget{Set: in.Set, Host: hosts[0]}, nil
	case 0:
		return shivx.GoldenTarget{}, refused(activities.ErrUnknownSet, shivx.Hint(fmt.Errorf("no host is known to have a set %q", in.Set), "name the host: "+in.Set+"@HOST"))
	}
	slices.Sort(hosts)
	return shivx.GoldenTarget{}, refused(activities.ErrUnknownSet, shivx.Hint(
		fmt.Errorf("%d hosts have a set %q: %s", len(hosts), in.Set, strings.Join(hosts, ", ")), "name one: "+in.Set+"@"+hosts[0]))
}
