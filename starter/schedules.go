package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/activities"
	"github.com/shivx/shivx/workflows"
)

// overlaps says what happens when a run is due while the one before is under way. That Temporal
// terminates the one before is not offered: a run ended so compensates nothing.
var overlaps = map[string]enumspb.ScheduleOverlapPolicy{
	"skip":         enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
	"buffer-one":   enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE,
	"buffer-all":   enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL,
	"cancel-other": enumspb.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER,
	"allow-all":    enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
}

// scheduleFlags are the flags of schedules create.
type scheduleFlags struct {
	runbook, input, cron, overlap, timezone string
	every, catchup, jitter                  time.Duration
}

func (a *app) schedulesCommand() *cobra.Command {
	return group("schedules", "Run runbooks at set times",
		a.schedulesListCommand(), a.schedulesCreateCommand(),
		a.scheduleCommand("pause", "Let a schedule start nothing until it is resumed", "paused",
			func(ctx context.Context, h client.ScheduleHandle, note string) error {
				return h.Pause(ctx, client.SchedulePauseOptions{Note: note})
			}),
		a.scheduleCommand("resume", "Let a paused schedule go on", "resumed",
			func(ctx context.Context, h client.ScheduleHandle, note string) error {
				return h.Unpause(ctx, client.ScheduleUnpauseOptions{Note: note})
			}),
		a.scheduleCommand("trigger", "Start the schedule's runbook now", "triggered",
			func(ctx context.Context, h client.ScheduleHandle, _ string) error {
				return h.Trigger(ctx, client.ScheduleTriggerOptions{})
			}),
		a.scheduleCommand("delete", "Delete a schedule; runs under way go on", "deleted",
			func(ctx context.Context, h client.ScheduleHandle, _ string) error {
				err := h.Delete(ctx)
				if section := keptBy(h.GetID()); err == nil && section != "" {
					a.err.line(yellow, "the agent of its host makes it again while "+section+" asks for it; to stop it, pause it or change its configuration")
				}
				return err
			}))
}

func (a *app) schedulesCreateCommand() *cobra.Command {
	var o scheduleFlags
	c := &cobra.Command{
		Use: "create NAME --runbook SelfHeal --input JSON (--cron SPEC | --every TIME)", Short: "Create a schedule",
		Example: `  shivx schedules create rehearse-demo --runbook SelfHeal --input '{"component":"demo","plan":true}' --cron "0 4 * * *"
  shivx schedules create verify-demo --runbook SelfHeal --input '{"component":"demo","verify_only":true}' --every 4h`,
		Args: cobra.ExactArgs(1),
		RunE: a.does(func(cmd *cobra.Command, args []string) error {
			in, err := o.check(args[0])
			if err != nil {
				return err
			}
			f, err := a.connect(cmd.Context(), dialPatience)
			if err != nil {
				return err
			}
			defer f.client.Close()
			return a.createSchedule(cmd.Context(), f, args[0], o, in)
		}),
	}
	fl := c.Flags()
	fl.StringVar(&o.runbook, "runbook", shivx.TypeSelfHeal, "workflow to run")
	fl.StringVar(&o.input, "input", "", `its input, such as {"component":"demo","plan":true}`)
	fl.StringVar(&o.cron, "cron", "", `when: minute hour day month weekday, such as "0 4 * * *"`)
	fl.DurationVar(&o.every, "every", 0, "when: each time this long after the last, such as 4h")
	fl.StringVar(&o.overlap, "overlap", "skip", "when the run before is still under way: "+strings.Join(slices.Sorted(maps.Keys(overlaps)), ", "))
	fl.DurationVar(&o.catchup, "catchup", 5*time.Minute, "how late a run missed while Temporal was away may start")
	fl.DurationVar(&o.jitter, "jitter", 30*time.Second, "spread the starts randomly over this time")
	fl.StringVar(&o.timezone, "timezone", "UTC", "time zone of --cron, such as Europe/Berlin")
	_ = c.RegisterFlagCompletionFunc("overlap", cobra.FixedCompletions(slices.Sorted(maps.Keys(overlaps)), cobra.ShellCompDirectiveNoFileComp))
	return c
}

// check refuses a schedule that could never work, and returns its input.
func (o scheduleFlags) check(name string) (workflows.SelfHealInput, error) {
	var in workflows.SelfHealInput
	if !safeName.MatchString(name) {
		return in, hint(usagef("%q is not the name of a schedule", name), `use letters, digits, ".", "_" and "-"`)
	}
	if err := schedulable(o.runbook); err != nil {
		return in, err
	}
	if (o.cron == "") == (o.every == 0) {
		return in, usagef("give exactly one of --cron and --every")
	}
	if o.every != 0 && o.every < time.Second {
		return in, usagef("--every %s is less than a second", o.every)
	}
	if o.jitter < 0 || o.catchup < 10*time.Second {
		return in, usagef("--jitter cannot be negative, nor --catchup less than 10s")
	}
	if _, ok := overlaps[o.overlap]; !ok {
		return in, hint(usagef("--overlap %s is not known", o.overlap), "it is one of: "+strings.Join(slices.Sorted(maps.Keys(overlaps)), ", "))
	}
	if _, err := time.LoadLocation(o.timezone); err != nil {
		return in, hint(usagef("--timezone %s is not known", o.timezone), "write it as Europe/Berlin")
	}
	d := json.NewDecoder(bytes.NewReader([]byte(o.input)))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return in, hint(usagef("--input: %v", err), `write at least {"component":"NAME"}`)
	}
	if _, err := target(in.String()); err != nil {
		return in, err
	}
	return in, nil
}

// keptBy is the section of the configuration by which an agent keeps the schedule of that name; "": none does.
func keptBy(name string) string {
	switch {
	case strings.HasPrefix(name, shivx.GoldenPrefix):
		return "golden.sets"
	case strings.HasPrefix(name, shivx.FaultForecastID("")):
		return "forecast.schedule"
	default:
		return ""
	}
}

// schedulable says whether people schedule a runbook with this command.
func schedulable(runbook string) error {
	const other = "this command schedules: " + shivx.TypeSelfHeal
	switch runbook {
	case shivx.TypeSelfHeal:
		return nil
	case shivx.TypeGoldenBackup, shivx.TypeGoldenVerify:
		return hint(usagef("%s is scheduled by the agent of the host", runbook), "say when in its configuration: golden.sets, schedule")
	case shivx.TypeFaultForecast:
		return hint(usagef("%s is scheduled by the agent of the host", runbook), "say how often in its configuration: forecast.schedule")
	case shivx.TypeMitigation:
		return hint(usagef("%s is begun by a forecast or by people, not by a schedule", runbook), other)
	case shivx.TypeGoldenRestore, shivx.TypeSafeSnapshot:
		return hint(usagef("%s is begun by people or by the guardian, not by a schedule", runbook), other)
	case shivx.TypeComponent, shivx.TypeLedgerWitness, shivx.TypeDegradationResponse, shivx.TypeThreatIsolation, shivx.TypeDefenseMode:
		return hint(usagef("%s is begun by the agents, not by a schedule", runbook), other)
	default:
		return hint(usagef("there is no runbook %s", runbook), other)
	}
}

// when says in words when the schedule runs.
func (o scheduleFlags) when() string {
	if o.cron != "" {
		return o.cron + " " + o.timezone
	}
	return "every " + short(o.every)
}

func (a *app) createSchedule(ctx context.Context, f *fleet, name string, o scheduleFlags, in workflows.SelfHealInput) error {
	e, err := f.find(ctx, in.String())
	if err != nil {
		return err
	}
	in.Target = e.Target
	if in.Reason == "" {
		in.Reason = "schedule " + name
	}
	spec := client.ScheduleSpec{Jitter: o.jitter, TimeZoneName: o.timezone}
	if o.cron != "" {
		spec.CronExpressions = []string{o.cron}
	} else {
		spec.Intervals = []client.ScheduleIntervalSpec{{Every: o.every}}
	}
	_, err = f.client.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: name, Spec: spec, Overlap: overlaps[o.overlap], CatchupWindow: o.catchup,
		Memo: map[string]any{shivx.MemoScheduleWhen: o.when(), shivx.MemoScheduleTarget: e.String()},
		Action: &client.ScheduleWorkflowAction{
			ID: "self-heal/schedule/" + name, Workflow: o.runbook, Args: []any{in}, TaskQueue: e.queue,
			TypedSearchAttributes: activities.SearchAttributes(shivx.RunbookSelfHeal, e.Target),
			StaticSummary:         fmt.Sprintf("%s: heal %s", name, e.Target),
		},
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return withCode(exitRefused, hint(fmt.Errorf("there is a schedule %s already", name), "delete it first: shivx schedules delete "+name))
	}
	if err != nil {
		return withCode(exitUsage, fmt.Errorf("create the schedule %s: %w", name, err))
	}
	if a.json() {
		return a.document(map[string]any{"name": name, "runbook": o.runbook, "when": o.when(), "input": in})
	}
	a.out.printf("%s: %s of %s, %s", name, o.runbook, e.Target, o.when())
	return nil
}

func (a *app) scheduleCommand(use, short, done string, do func(context.Context, client.ScheduleHandle, string) error) *cobra.Command {
	var note string
	c := &cobra.Command{
		Use: use + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: a.onFleet(func(ctx context.Context, f *fleet, args []string) error {
			limited, cancel := context.WithTimeout(ctx, answerPatience)
			defer cancel()
			err := do(limited, f.client.ScheduleClient().GetHandle(ctx, args[0]), strings.TrimSuffix("by "+me()+": "+note, ": "))
			if err != nil {
				return hint(explain(use+" the schedule "+args[0], err), "shivx schedules list shows all")
			}
			if a.json() {
				return a.document(map[string]string{"name": args[0], "done": done})
			}
			a.out.printf("%s: %s", args[0], done)
			return nil
		}),
	}
	if use == "pause" || use == "resume" {
		c.Flags().StringVar(&note, "note", "", "why, in one line")
	}
	return c
}
