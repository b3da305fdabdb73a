package workflows_test

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/shivx/shivx/workflows"
)

// histories are the recordings that must be there (`make histories`), and what makes each of
// them worth having: text of an event or of a payload.
var histories = map[string][]string{
	"healed":         {"Isolate", "Checkpoint", "Recover", "Validate", "Reintegrate", "Log", `"outcome":"healed"`},
	"climbed":        {"Undo", `"outcome":"healed"`, `"strategy":"restart"`},
	"plugin-failed":  {"PluginFailed", `"outcome":"healed"`},
	"failed":         {"Undo", "Escalate", "Reintegrate", `"outcome":"failed"`},
	"crashed":        {"second attempt", `"outcome":"healed"`},
	"approved":       {"approve", "go ahead", `"outcome":"healed"`},
	"denied":         {"not now", `"outcome":"failed"`},
	"paused":         {"pause", "resume", `"outcome":"healed"`},
	"aborted":        {"wrong host", `"outcome":"aborted"`},
	"cancelled":      {"CANCEL_REQUESTED", `"outcome":"aborted"`},
	"resolved":       {"SIGNALED", "nothing to recover", `"outcome":"resolved"`},
	"busy":           {"Busy", `"outcome":"refused"`},
	"plan":           {"Locate", `"outcome":"planned"`},
	"by-hand":        {"Locate", "Acquire", "released", `"outcome":"healed"`},
	"verify-only":    {"Acquire", `"outcome":"already-healthy"`},
	"component":      {"configure", "fault", "resolved", "heal", "set-maintenance", "checkpoint", "acquire", "released", "TIMER_FIRED", "Escalate"},
	"ledger-witness": {"UPDATE_COMPLETED", "operational_ledger"},

	"degradation-response": {"health", "override", "ApplyLevel", "exit status 1", "TIMER_FIRED", "Escalate", "SetOverride", "NoOverride"},

	"isolation-expired":     {"isolate", "LastLift", "extend", "until we know more", "TIMER_CANCELED", "TIMER_FIRED", `"outcome":"expired"`},
	"isolation-restored":    {"LastLift", "TIMER_FIRED", `"host":"h2"`, "false alarm", `"host":"h3"`, "our own monitoring", `"outcome":"restored"`},
	"isolation-by-hand":     {"CHILD_WORKFLOW_EXECUTION_STARTED", `"outcome":"handed-over"`},
	"isolation-handed-over": {"WORKFLOW_ALREADY_EXISTS", "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED", `"outcome":"handed-over"`},
	"defense-mode": {"configure", "threat", "ELEVATED", "there was no serious threat", "was tampered with", "nobody has confirmed",
		"TIMER_FIRED", "set-mode", "confirmed: intruder", "all clear", "Escalate"},

	"golden-backup": {"TakeGolden", "PruneGoldens", "Escalate", "LogGolden", `"outcome":"stored"`},
	"golden-verify": {"VerifyGolden", "packs/ab/abcd.pack", "Escalate", `"outcome":"damaged"`},
	"golden-restored": {"FindGolden", "VerifyGolden", "approve", "go ahead", "StageRestore", "ValidateRestore", "Busy", "TIMER_FIRED", "StopService",
		"SwapRestore", "StartService", "LoadRestore", "CheckServices", "FinishRestore", "released", `"outcome":"restored"`},
	"golden-undone":          {"UndoRestore", "TIMER_FIRED", "DiscardRestore", "released", "Escalate", `"outcome":"undone"`},
	"golden-aborted":         {"ACTIVITY_TASK_CANCELED", "wrong set", "DiscardRestore", `"outcome":"aborted"`},
	"golden-put-back":        {"CANCEL_REQUESTED", "UndoRestore", "StartService", "CheckServices", `"outcome":"aborted"`},
	"golden-denied":          {"not now", `"outcome":"refused"`},
	"golden-plan":            {"StageRestore", `"plan":true`, `"outcome":"planned"`},
	"safe-snapshot-taken":    {"TakeGolden", `"kind":"snapshot"`, `"outcome":"stored"`},
	"safe-snapshot-restored": {"SwapRestore", `"kind":"snapshot"`, `"outcome":"restored"`},

	"fault-forecast": {"ForecastFaults", "CHILD_WORKFLOW_EXECUTION_STARTED", "WORKFLOW_ALREADY_EXISTS", "mitigation/disk@"},
	"mitigation-prevented": {"PlanMitigation", "approve", "go ahead", "pause", "resume", "golden/snapshot/shop@", "Mitigate", "TIMER_FIRED",
		"MeasureMitigation", "Escalate", "LogMitigation", `"outcome":"prevented"`},
	"mitigation-useless":  {"not now", "PluginFailed", "UndoMitigation", "MarkMitigation", "self-heal/shop@", "Escalate", `"denied":["drop"]`, `"outcome":"no-effect"`},
	"mitigation-plan":     {"PlanMitigation", `"plan":true`, `"outcome":"planned"`},
	"mitigation-refused":  {"3 mitigations within 24h", "LogMitigation", `"outcome":"refused"`},
	"mitigation-quiet":    {"wait for the end of the blackout", "wait for a quiet time", "TIMER_FIRED", `"outcome":"prevented"`},
	"mitigation-blackout": {"Escalate", "approval of to act in the blackout", "it cannot wait", `"outcome":"prevented"`},
	"mitigation-aborted":  {"TIMER_CANCELED", "wrong host", "measured early", `"outcome":"aborted"`},
}

func historyFile(name string) string { return filepath.Join("testdata", "histories", name+".json") }

// readHistories reads every recording; one that is missing, and one nobody knows of, is an error.
func readHistories(t *testing.T) map[string]*historypb.History {
	t.Helper()
	found, err := filepath.Glob(historyFile("*"))
	require.NoError(t, err)
	out := map[string]*historypb.History{}
	for _, path := range found {
		f, err := os.Open(path)
		require.NoError(t, err)
		h, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
		require.NoError(t, f.Close())
		require.NoError(t, err, path)
		out[strings.TrimSuffix(filepath.Base(path), ".json")] = h
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(histories)), slices.Collect(maps.Keys(out)),
		"recordings and the list of them; run make histories")
	return out
}

// replay runs today's workflows over a recorded history, as a worker does after a restart.
func replay(t *testing.T, h *historypb.History, interceptors ...interceptor.WorkerInterceptor) error {
	t.Helper()
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Interceptors: interceptors})
	require.NoError(t, err)
	workflows.Register(r)
	quiet := log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	// Some runbooks ask whether they have the id that others find them by.
	started := h.Events[0].GetWorkflowExecutionStartedEventAttributes()
	original := workflow.Execution{ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId()}
	// The replayer works on the history it is given.
	return r.ReplayWorkflowHistoryWithOptions(quiet, proto.Clone(h).(*historypb.History), worker.ReplayWorkflowHistoryOptions{OriginalExecution: original})
}

func TestRecordedHistoriesReplay(t *testing.T) {
	for name, h := range readHistories(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, replay(t, h))
		})
	}
}

func TestRecordedHistoriesShowWhatTheyAreFor(t *testing.T) {
	machine := regexp.MustCompile(`(^|[^a-z0-9])/(tmp|home|root|work|Users)/`)
	for name, h := range readHistories(t) {
		text := readable(h)
		for _, want := range histories[name] {
			if !strings.Contains(text, want) { // the text is too long to be shown
				t.Errorf("%s has no %s", name, want)
			}
		}
		require.Empty(t, machine.FindString(text), "%s tells of the machine it was recorded on", name)
	}
}

// readable is a history as text, with its payloads.
func readable(h *historypb.History) string {
	var b strings.Builder
	for _, e := range h.Events {
		fmt.Fprintln(&b, e.EventType, strings.ReplaceAll(e.String(), `\"`, `"`))
		if e.GetActivityTaskStartedEventAttributes().GetAttempt() > 1 {
			fmt.Fprintln(&b, "second attempt")
		}
	}
	return b.String()
}

// TestHistoriesReplayFromEveryEvent cuts each history at every event at which a server can stand,
// and replays what a worker would be given there.
func TestHistoriesReplayFromEveryEvent(t *testing.T) {
	for name, h := range readHistories(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cuts := 0
			for n := 3; n < len(h.Events); n++ {
				cut, ok := cutAt(h, n)
				if !ok {
					continue
				}
				cuts++
				require.NoError(t, replay(t, cut), "cut after event %d of %d, %s", n, len(h.Events), h.Events[n-1].EventType)
			}
			require.Greater(t, cuts, len(h.Events)/3, "cuts")
		})
	}
}

// cutAt returns the first n events as a worker is given them: ending with a workflow task that
// has been started. ok is false inside what a server writes at once: the events that answer
// the commands of a completed workflow task.
func cutAt(h *historypb.History, n int) (cut *historypb.History, ok bool) {
	if isCommandEvent(h.Events[n]) {
		return nil, false
	}
	cut = &historypb.History{Events: slices.Clone(h.Events[:n])}
	last := cut.Events[n-1]
	switch last.EventType {
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		return cut, true
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
	default:
		scheduled := &historypb.HistoryEvent{
			EventId: last.EventId + 1, EventTime: last.EventTime, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
			Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{
				WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{Attempt: 1}},
		}
		cut.Events = append(cut.Events, scheduled)
		last = scheduled
	}
	cut.Events = append(cut.Events, &historypb.HistoryEvent{
		EventId: last.EventId + 1, EventTime: last.EventTime, EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED,
		Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{
			WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{ScheduledEventId: last.EventId}},
	})
	return cut, true
}

// isCommandEvent says whether the event answers a command of a workflow task.
func isCommandEvent(e *historypb.HistoryEvent) bool {
	m := e.ProtoReflect()
	which := m.WhichOneof(m.Descriptor().Oneofs().ByName("attributes"))
	if which == nil {
		return false
	}
	attributes := m.Get(which).Message()
	field := attributes.Descriptor().Fields().ByName("workflow_task_completed_event_id")
	return field != nil && attributes.Get(field).Int() != 0
}
