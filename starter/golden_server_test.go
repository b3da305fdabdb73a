package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/shivx/shivx"
)

// TestGoldenRunsAndSchedules lets a real agent work: its schedules are listed and obey, and runs tell their story.
func TestGoldenRunsAndSchedules(t *testing.T) {
	needServer(t)
	const backup = "golden/backup/site@here"
	awaitOut(t, backup, "schedules", "list", "--wide")
	awaitOut(t, "0 3 * * * Europe/Berlin", "schedules", "list", "--wide")
	list := decode[[]scheduleView](t, want(t, exitOK, nil, "schedules", "list", "-o", "json"))
	i := slices.IndexFunc(list, func(v scheduleView) bool { return v.Name == "golden/verify/site@here" })
	if i < 0 || list[i].Runbook != shivx.TypeGoldenVerify || list[i].Target != "site@here" || list[i].When != "0 5 * * 0 Europe/Berlin" || list[i].Next.IsZero() {
		t.Errorf("schedules: %+v", list)
	}
	want(t, exitOK, []string{"triggered"}, "schedules", "trigger", backup)
	awaitOut(t, "stored", "runs", "--set", "site", "--outcome", "stored", "--wide")

	want(t, exitOK, []string{"site@here: stored in"}, "golden", "backup", "site@here", "--reason", "a test")
	awaitOut(t, "a test", "runs", "--set", "site", "--wide")
	runs := decode[[]runView](t, want(t, exitOK, nil, "runs", "--set", "site", "--host", "here", "-o", "json"))
	if len(runs) != 2 || runs[0].WorkflowID != backup || !strings.HasPrefix(runs[1].WorkflowID, backup) || runs[0].Reason != "a test" || runs[1].Reason != "schedule" ||
		runs[0].Outcome != shivx.OutcomeStored || runs[0].Golden == "" || runs[0].Runbook != shivx.TypeGoldenBackup {
		t.Errorf("runs: %+v", shivxRun("runs", "--wide").out)
	}
	want(t, exitOK, []string{"TARGET", "backup site"}, "runs", "--set", "site")
	for _, id := range [][]string{{backup}, {backup, runs[0].RunID}, {runs[0].RunID[len(runs[0].RunID)-8:]}, {runs[0].RunID}} {
		want(t, exitOK, []string{"backup of site@here: stored", "because", "a test", runs[0].Golden, "✓", "take", "prune"},
			append([]string{"runs", "show"}, id...)...)
	}
	want(t, exitOK, []string{"because", "schedule"}, "runs", "show", runs[1].WorkflowID)
	story := decode[goldenRunStory](t, want(t, exitOK, nil, "runs", "show", backup, "-o", "json"))
	took := slices.IndexFunc(story.Steps, func(s shivx.GoldenStepReport) bool { return s.Name == shivx.GoldenStepTake && s.Seconds > 0 })
	if took < 0 || story.Taken == nil || story.Taken.ID != runs[0].Golden {
		t.Errorf("story: %+v", story)
	}

	want(t, exitUsage, []string{"GoldenBackup is scheduled by the agent of the host — say when in its configuration: golden.sets, schedule"},
		"schedules", "create", "nightly", "--runbook", "GoldenBackup", "--every", "4h")
	want(t, exitUsage, []string{"GoldenRestore is begun by people"}, "schedules", "create", "nightly", "--runbook", "GoldenRestore", "--every", "4h")
	want(t, exitUsage, []string{"DefenseMode is begun by the agents"}, "schedules", "create", "nightly", "--runbook", "DefenseMode", "--every", "4h")
	want(t, exitUsage, []string{"there is no runbook Backup — this command schedules: SelfHeal"}, "schedules", "create", "nightly", "--runbook", "Backup", "--every", "4h")
	want(t, exitOK, []string{"deleted", "the agent of its host makes it again"}, "schedules", "delete", "golden/verify/site@here")
}
