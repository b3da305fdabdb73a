package main

import (
	"testing"

	"github.com/shivx/shivx"
)

// TestMitigate plans and takes an action of a real agent, whose subsystem is on no way to fail.
func TestMitigate(t *testing.T) {
	needServer(t)
	const id = "mitigation/space@here"
	want(t, exitOK, []string{"tidy", "script", "space@here: planned — nothing was changed; 1 of 1 actions", "now it would end as not-needed"},
		"mitigate", "space@here", "--plan")
	want(t, exitOK, []string{"space@here: not-needed"}, "mitigate", "space@here", "--follow")
	want(t, exitRefused, []string{`space@here has no mitigation "drop"; it has: tidy`, "shivx runs show " + id}, "mitigate", "space@here", "--action", "drop", "--follow")
	want(t, exitRefused, []string{`here has no subsystem "time" — see forecast.subsystems`}, "mitigate", "time@here", "--follow")

	want(t, exitOK, []string{"act tidy", "tidied up", "space@here: not-needed — no failure is forecast; tidy was taken as asked and stays"}, "mitigate", "space@here", "--action", "tidy", "--reason", "a test", "--follow")
	want(t, exitRefused, []string{"the last mitigation of space was at ", "or by force"}, "mitigate", "space@here", "--action", "tidy", "--follow")
	res := decode[mitigationRun](t, want(t, exitOK, nil, "mitigate", "space@here", "--action", "tidy", "--force", "--follow", "-o", "json"))
	if res.Outcome != shivx.OutcomeUnneeded || res.WorkflowID != id || len(res.Actions) != 1 || res.Actions[0].Plugin != "script" {
		t.Errorf("result: %+v", res)
	}

	runs := decode[[]runView](t, want(t, exitOK, nil, "runs", "--subsystem", "space", "--outcome", "not-needed", "-o", "json"))
	if len(runs) != 3 || runs[0].Subsystem != "space" || runs[0].Host != "here" || runs[0].Runbook != shivx.TypeMitigation || runs[1].Reason != "a test" {
		t.Errorf("runs: %+v", runs)
	}
	want(t, exitOK, []string{"mitigate space", "not-needed"}, "runs", "--subsystem", "space")
	want(t, exitOK, []string{"mitigation for space@here: not-needed", "ana", "ACTION", "tidy", "✓", "act tidy", "measure tidy", "log"}, "runs", "show", id)
	story := decode[mitigationRunStory](t, want(t, exitOK, nil, "runs", "show", runs[1].RunID, "-o", "json"))
	if story.Outcome != shivx.OutcomeUnneeded || len(story.Steps) < 4 {
		t.Errorf("story: %+v", story)
	}
	want(t, exitUsage, []string{"is not a name"}, "runs", "--subsystem", "a b")
	want(t, exitUsage, []string{"prevented, no-effect, not-needed"}, "runs", "--outcome", "saved")
	want(t, exitOK, []string{"started " + id}, "mitigate", "space@here", "--action", "tidy", "--force")
	awaitOut(t, "taken as asked", "runs", "show", id)
}

// TestForecastsAreScheduled starts the forecast of a real agent by its schedule.
func TestForecastsAreScheduled(t *testing.T) {
	needServer(t)
	awaitOut(t, "forecast@here", "schedules", "list")
	want(t, exitOK, []string{"FaultForecast", "every 1h"}, "schedules", "list")
	want(t, exitOK, nil, "schedules", "trigger", "forecast@here")
	awaitOut(t, "subsystems", "runs", "show", "forecast@here")
	awaitOut(t, "forecast of the faults of here: ", "runs", "show", "forecast@here")
	want(t, exitOK, []string{"SUBSYSTEM", "memory", "space"}, "runs", "show", "forecast@here")
	awaitOut(t, "forecast@here", "runs", "--forecasts", "--wide")
	story := decode[forecastRunStory](t, want(t, exitOK, nil, "runs", "show", "forecast@here", "-o", "json"))
	if story.Runbook != shivx.TypeFaultForecast || story.Reason != "schedule" || len(story.Result.Risks) < 8 {
		t.Errorf("story: %+v", story)
	}
	want(t, exitUsage, []string{"FaultForecast is scheduled by the agent of the host — say how often in its configuration: forecast.schedule"},
		"schedules", "create", "often", "--runbook", "FaultForecast", "--every", "1m")
	want(t, exitUsage, []string{"Mitigation is begun by a forecast or by people"}, "schedules", "create", "often", "--runbook", "Mitigation", "--every", "1m")
	want(t, exitOK, []string{"deleted", "while forecast.schedule asks for it"}, "schedules", "delete", "forecast@here")
}
