package agent

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// unknownRunbook stands for all runbooks that this agent does not know, so that a lockdown refuses these,
// too. Else the run waits, as it would without it: an agent of a newer version may know the runbook.
func unknownRunbook(ctx workflow.Context, _ converter.EncodedValues) (any, error) {
	panic(fmt.Sprintf("there is no runbook %s on this agent — start one of %s, or update the agent",
		workflow.GetInfo(ctx).WorkflowType.Name, strings.Join(shivx.CriticalRunbooks(), ", ")))
}
