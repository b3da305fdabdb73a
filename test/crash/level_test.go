package crash_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/test/stand"
)

// vitalHost is an agent whose level follows one small disk, and whose two hooks write a line to a
// log each time they are run: their step and key. They do not look whether that is there already.
type vitalHost struct {
	*scene
	name, disk, log, api string
	// cutOff counts the switchings of hooks that a kill cut off, as of the last settle.
	cutOff int
}

const vitalConfig = `
version: 1
host: {host}
paths: {var: "{dir}/var"}
temporal: {task_queue: crash-{host}}
api: {listen: "{api}"}
components: []
resilience:
  monitor: {every: 100ms, record_every: 1s, mounts: ["{disk}"]}
  levels: {up_after: 200ms, max_up_after: 400ms}
  hooks:
    - {name: batch, level: LEVEL_1, use: script, with: {isolate: [/bin/sh, -c, {line}], reintegrate: [/bin/sh, -c, {line}]}}
    - {name: uploads, level: LEVEL_3, use: script, with: {isolate: [/bin/sh, -c, {line}], reintegrate: [/bin/sh, -c, {line}]}}
`

// How full the disk must be for a level.
var fillFor = map[shivx.Level]int{
	shivx.LevelNormal: 0, shivx.Level1: 28, shivx.Level2: 43, shivx.Level3: 60, shivx.LevelEmergency: 85,
}

// vital starts an agent, at NORMAL.
func (h *house) vital(t *testing.T, name, point string) *vitalHost {
	t.Helper()
	dir := t.TempDir()
	v := &vitalHost{name: name, disk: filepath.Join(dir, "disk"), log: filepath.Join(dir, "hooks.log"),
		api: fmt.Sprintf("127.0.0.1:%d", stand.FreePort(t))}
	stand.Tmpfs(t, v.disk)
	v.scene = h.agent(t, shivx.ModuleHost, name, point, strings.NewReplacer("{host}", name, "{api}", v.api, "{disk}", v.disk,
		"{line}", `'sleep 0.05; echo "$SHIVX_STEP $SHIVX_KEY" >> `+v.log+"'").Replace(vitalConfig)+stand.DiskAlone)
	stand.Await(t, patience, "the agent to know its host", func(context.Context) bool { return len(v.agent.AuditRecords()) > 0 })
	return v
}

// switching is what a record shed or unshed says.
type switching struct {
	Name   string `json:"name"`
	Phase  string `json:"phase"`
	Undo   bool   `json:"undo"`
	Number int    `json:"number"`
	Key    string `json:"effect"`
}

// step is the plugin's step of the switching, with its key, as the hooks log them.
func (s switching) step() string {
	step := "isolate"
	if s.Undo {
		step = "reintegrate"
	}
	return step + " " + s.Key + "/" + step
}

func (v *vitalHost) switchings() (out []switching) {
	v.t.Helper()
	for _, r := range v.agent.AuditRecords() {
		if r.EventType == shivx.EventShed || r.EventType == shivx.EventUnshed {
			var s switching
			require.NoError(v.t, json.Unmarshal(r.Details.(json.RawMessage), &s))
			require.Equal(v.t, s.Undo, r.EventType == shivx.EventUnshed)
			out = append(out, s)
		}
	}
	return out
}

// logged are the lines the hooks wrote, in their order.
func (v *vitalHost) logged() []string {
	v.t.Helper()
	b, err := os.ReadFile(v.log)
	if err != nil && !os.IsNotExist(err) {
		v.t.Fatal(err)
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}

// hooksAt are the hooks that a level asks for.
func hooksAt(l shivx.Level) (out []string) {
	if l.Rank() >= shivx.Level1.Rank() {
		out = append(out, "batch")
	}
	if l.Rank() >= shivx.Level3.Rank() {
		out = append(out, "uploads")
	}
	return out
}

// settle waits until the host is at the level with its hooks and its features, and checks that
// nothing of the way there was lost or doubled.
func (v *vitalHost) settle(level shivx.Level) []shivx.LevelChange {
	t := v.t
	t.Helper()
	stand.Await(t, patience, "the host to be at "+string(level), func(context.Context) bool {
		changes := v.agent.LevelChanges()
		return len(changes) == 0 && level == shivx.LevelNormal || len(changes) > 0 && changes[len(changes)-1].To == level
	})
	stand.Await(t, patience, "the hooks that it asks for", func(context.Context) bool {
		all := v.switchings()
		on, open := replayed(all)
		return !open && slices.Equal(on, hooksAt(level))
	})
	v.checkHooks(level)
	changes := v.agent.AwaitAgreement(v.server, v.name, patience)
	v.checkFlags(level, len(changes))
	v.agent.VerifyLedger()
	return changes
}

// replayed are the hooks that are on after the switchings, in the order of shedding; open says
// that one is under way.
func replayed(all []switching) (on []string, open bool) {
	for _, s := range all {
		open = s.Phase == "started"
		if s.Phase == "done" {
			on = slices.DeleteFunc(on, func(n string) bool { return n == s.Name })
			if !s.Undo {
				on = append(on, s.Name)
			}
		}
	}
	return on, open
}

// checkHooks holds what the hooks did against the audit: a switching is run once. One that a kill
// cut off is begun again under its key, so that it may have been run once more, by one for each kill.
func (v *vitalHost) checkHooks(level shivx.Level) {
	t := v.t
	t.Helper()
	begun := v.checkSwitchings()
	ran, left := map[string]int{}, map[string]bool{}
	for _, line := range v.logged() {
		ran[line]++
		part := strings.Split(line, "/") // host, "shed", ledger, hook, number and step
		left[part[len(part)-3]] = strings.HasPrefix(line, "isolate ")
	}
	for step, n := range ran {
		require.LessOrEqual(t, n, begun[step].times, "%s was run more often than it was begun", step)
	}
	for step, b := range begun {
		require.GreaterOrEqual(t, ran[step], b.done, "%s is said to be done", step)
	}
	for _, hook := range []string{"batch", "uploads"} {
		require.Equal(t, slices.Contains(hooksAt(level), hook), left[hook], "what hook %s has left on the host at %s", hook, level)
	}
}

// counts says how often a step with its key was begun and done.
type counts struct{ times, done int }

// checkSwitchings checks the audit's order of switchings: one at a time, numbered without a gap, none
// begun again that was done, each begun again under its key, and the hooks shed and taken back in order.
func (v *vitalHost) checkSwitchings() map[string]counts {
	t := v.t
	t.Helper()
	begun, last, cut := map[string]counts{}, switching{}, 0
	key, settled := map[string]string{}, map[string]bool{}
	all := v.switchings()
	for i, s := range all {
		n := begun[s.step()]
		switch s.Phase {
		case "started":
			require.Equal(t, last.Number+1, s.Number, "switchings are numbered without a gap")
			require.False(t, settled[s.step()], "%s was done and is begun again", s.step())
			require.True(t, key[s.Name] == "" || key[s.Name] == s.Key, "%s goes on under another key than %s", s.Key, key[s.Name])
			key[s.Name], settled[s.other().step()] = s.Key, false
			n.times++
			cut++
		case "done":
			require.Equal(t, last.Number, s.Number, "one at a time")
			settled[s.step()] = true
			n.done++
			cut--
			if s.Undo {
				delete(key, s.Name)
			}
			on, _ := replayed(all[:i+1])
			require.True(t, len(on) == 0 || on[0] == "batch", "shed and taken back in order, not %v", on)
		default:
			t.Fatalf("a hook failed: %+v", s)
		}
		begun[s.step()], last = n, s
	}
	require.LessOrEqual(t, cut, len(v.agentKeeper.died()), "each switching cut off has its kill")
	v.cutOff = cut
	return begun
}

// other is the switching the other way.
func (s switching) other() switching {
	s.Undo = !s.Undo
	return s
}

// checkFlags waits until programs that read the flags file see the level.
func (v *vitalHost) checkFlags(level shivx.Level, number int) {
	v.t.Helper()
	stand.Await(v.t, patience, "the flags file to tell the level", func(context.Context) bool {
		f, err := v.agent.Flags()
		return err == nil && f.Level == level && f.Version == uint64(number)
	})
	f, err := v.agent.Flags()
	require.NoError(v.t, err)
	for name, off := range map[string]shivx.Level{"analytics": shivx.Level1, "web_search": shivx.Level2, "uploads": shivx.Level3, "memory_writes": shivx.LevelEmergency} {
		require.Equal(v.t, off.WorseThan(level), f.Features[name].Enabled, "%s at %s", name, level)
	}
	require.True(v.t, f.Features["chat"].Enabled)
}

// TestKilledAroundALevelChange kills when a change is recorded and nothing done about it yet, when
// it is being told, and around a hook's effect, on the way down and on the way up.
func TestKilledAroundALevelChange(t *testing.T) {
	h := newHouse(t)
	for i, c := range []struct {
		point string
		who   string
		step  string // the step that is cut off, with the number of its runs
		runs  int
		short bool
	}{
		{point: "level:after", who: both, short: true}, {point: "level:after", who: worker},
		{point: "dispatch-level:before", who: both}, {point: "dispatch-level:before", who: server},
		{point: "dispatch-level:after", who: both, short: true}, {point: "dispatch-level:after", who: worker},
		{point: "hook-isolate:before", who: both, step: "isolate", runs: 1},
		{point: "hook-isolate:after", who: both, step: "isolate", runs: 2, short: true},
		{point: "hook-isolate:after", who: worker, step: "isolate", runs: 2},
		{point: "hook-reintegrate:before", who: worker, step: "reintegrate", runs: 1},
		{point: "hook-reintegrate:after", who: both, step: "reintegrate", runs: 2},
	} {
		if short() && !c.short {
			continue
		}
		t.Run(c.point+"/"+c.who, func(t *testing.T) {
			v := h.vital(t, fmt.Sprintf("level%d", i), c.point)
			from, to := shivx.LevelNormal, shivx.Level3
			if c.step == "reintegrate" {
				stand.Fill(t, v.disk, fillFor[to])
				v.settle(to)
				from, to = to, from
			}
			v.arm(c.who)
			stand.Fill(t, v.disk, fillFor[to])
			v.awaitBlast()
			changes := v.settle(to)
			v.checkDeaths(c.who)
			if c.step != "" {
				require.Equal(t, c.runs, runsOf(v.logged(), c.step, "batch")+runsOf(v.logged(), c.step, "uploads")-1, "runs of the hook that was cut off")
			}
			t.Logf("%s to %s in %d changes", from, to, len(changes))
			stand.Fill(t, v.disk, fillFor[from])
			v.settle(from)
		})
	}
}

// runsOf counts the runs of a hook's step.
func runsOf(lines []string, step, hook string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, step+" ") && strings.Contains(l, "/"+hook+"/") {
			n++
		}
	}
	return n
}
