package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/shivx/shivx"
)

// attributes maps the names of search attributes to their types.
type attributes map[string]enumspb.IndexedValueType

// prepareServer checks that the server answers and has the search attributes runs are found by.
func (a *Agent) prepareServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := a.client.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return shivx.Hint(fmt.Errorf("connect to Temporal: %w", err), "is the server up? its address is TEMPORAL_ADDRESS, else 127.0.0.1:7233")
	}
	have, err := a.searchAttributes(ctx)
	if err != nil {
		return fmt.Errorf("list the search attributes of namespace %s: %w", a.namespace, err)
	}
	missing := attributes{}
	for _, want := range shivx.SearchAttributes() {
		wanted, err := enumspb.IndexedValueTypeFromString(want.Type)
		if err != nil {
			return fmt.Errorf("search attribute %s: %w", want.Name, err)
		}
		switch kind, ok := have[want.Name]; {
		case !ok:
			missing[want.Name] = wanted
		case kind != wanted:
			return shivx.Hint(fmt.Errorf("the search attribute %s of namespace %s has the type %s, not %s", want.Name, a.namespace, kind, want.Type),
				"an administrator can remove it (temporal operator search-attribute remove --name "+want.Name+"); or use another namespace (TEMPORAL_NAMESPACE)")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = a.client.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: a.namespace, SearchAttributes: missing,
	})
	if err != nil {
		return shivx.Hint(fmt.Errorf("create the search attributes: %w", err),
			"an administrator can: "+createCommand())
	}
	return nil
}

// createCommand is how an administrator makes the search attributes.
func createCommand() string {
	b := strings.Builder{}
	b.WriteString("temporal operator search-attribute create")
	for _, want := range shivx.SearchAttributes() {
		fmt.Fprintf(&b, " --name %s --type %s", want.Name, want.Type)
	}
	return b.String()
}

// searchAttributes asks the operator service, and where there is none, or it is not for us, the
// workflow service.
func (a *Agent) searchAttributes(ctx context.Context) (attributes, error) {
	list, err := a.client.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: a.namespace})
	if err == nil {
		return list.CustomAttributes, nil
	}
	_, refused := errors.AsType[*serviceerror.PermissionDenied](err)
	_, absent := errors.AsType[*serviceerror.Unimplemented](err)
	if !refused && !absent {
		return nil, err
	}
	have, otherErr := a.visibleAttributes(ctx)
	if otherErr != nil {
		return nil, errors.Join(err, otherErr)
	}
	return have, nil
}

// visibleAttributes asks the workflow service. Servers on an SQL database keep an attribute in a
// numbered field, for which the namespace knows the name.
func (a *Agent) visibleAttributes(ctx context.Context) (attributes, error) {
	resp, err := a.client.GetSearchAttributes(ctx)
	if err != nil {
		return nil, err
	}
	have := maps.Clone(attributes(resp.Keys))
	ns, err := a.client.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: a.namespace})
	if err != nil {
		return nil, fmt.Errorf("describe the namespace: %w", err)
	}
	for field, name := range ns.GetConfig().GetCustomSearchAttributeAliases() {
		if kind, ok := resp.Keys[field]; ok {
			have[name] = kind
		}
	}
	return have, nil
}
