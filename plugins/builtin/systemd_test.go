package builtin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// newSystemd returns the plugin beside a fake systemd whose unit is active, without limits.
func newSystemd(t *testing.T) (*fakeSystemd, *Systemd) {
	t.Helper()
	f, control := startFakeSystemd(t)
	f.change(func(f *fakeSystemd) {
		f.active = "active"
		f.limits = map[string]uint64{"CPUWeight": notSet, "CPUQuotaPerSecUSec": notSet, "MemoryHigh": notSet, "TasksMax": 4915}
	})
	proc := t.TempDir()
	require.NoError(t, os.MkdirAll(proc+"/sys/kernel/random", 0o755))
	require.NoError(t, os.MkdirAll(proc+"/self", 0o755))
	require.NoError(t, os.WriteFile(proc+"/sys/kernel/random/boot_id", []byte("boot-1\n"), 0o600))
	require.NoError(t, os.WriteFile(proc+"/self/cgroup", []byte("4:cpu:/batch.service\n0::/system.slice/shivx-worker.service\n"), 0o600))
	h := newHost(nil)
	h.fs.root = proc
	return f, &Systemd{host: h, bus: control}
}

func systemdRequest(t *testing.T, options map[string]any) sdk.Request {
	return sdk.Request{Key: "k1", Component: "batch", WorkDir: t.TempDir(), Options: jsonOf(t, options)}
}

func (f *fakeSystemd) limit(name string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.limits[name]
}

func TestSystemdSetsPropertiesAndPutsThemBack(t *testing.T) {
	f, p := newSystemd(t)
	f.change(func(f *fakeSystemd) { f.limits["CPUWeight"] = 150 })
	req := systemdRequest(t, map[string]any{"unit": "batch.service", "properties": map[string]any{"CPUWeight": 20, "CPUQuota": "20%", "MemoryHigh": "512M"}})
	res, err := p.Isolate(ctx(t), planned(req))
	require.NoError(t, err)
	want := []string{"CPUQuota: not set → 20%", "CPUWeight: 150 → 20", "MemoryHigh: infinity → 512M"}
	require.Equal(t, want, res.Changes)
	require.Empty(t, f.done())
	entries, err := os.ReadDir(req.WorkDir)
	require.NoError(t, err)
	require.Empty(t, entries, "a plan wrote files")

	res, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, want, res.Changes)
	require.Equal(t, []string{"set batch.service CPUQuotaPerSecUSec=200000 CPUWeight=20 MemoryHigh=536870912"}, f.done())
	for _, key := range []string{"k1", "k2"} {
		req.Key = key
		res, err = p.Isolate(ctx(t), req)
		require.NoError(t, err)
		require.Equal(t, "CPUWeight is 20 already", res.Changes[1])
	}
	require.Len(t, f.done(), 1, "what is shed was shed again")

	// With one property more, its value is kept, too, and the others are not kept again.
	req.Options = jsonOf(t, map[string]any{"unit": "batch.service", "properties": map[string]any{"CPUWeight": 10, "TasksMax": 50}})
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	res, err = p.Reintegrate(ctx(t), planned(req))
	require.NoError(t, err)
	back := []string{"CPUQuota: 20% → not set", "CPUWeight: 10 → 150", "MemoryHigh: 512M → infinity", "TasksMax: 50 → 4915"}
	require.Equal(t, back, res.Changes)
	res, err = p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, back, res.Changes)
	f.change(func(f *fakeSystemd) {
		require.Equal(t, map[string]uint64{"CPUWeight": 150, "CPUQuotaPerSecUSec": notSet, "MemoryHigh": notSet, "TasksMax": 4915}, f.limits)
	})
	res, err = p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Summary, "nothing was shed")
}

func TestSystemdPropertiesEndWithTheBoot(t *testing.T) {
	f, p := newSystemd(t)
	req := systemdRequest(t, map[string]any{"unit": "batch.service", "properties": map[string]any{"CPUWeight": 20}})
	_, err := p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.host.fs.root+"/sys/kernel/random/boot_id", []byte("boot-2\n"), 0o600))
	f.change(func(f *fakeSystemd) { f.limits["CPUWeight"] = 300 }) // from its unit file, edited since
	res, err := p.Reintegrate(ctx(t), planned(req))
	require.NoError(t, err)
	require.Contains(t, res.Summary, "started anew")
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.EqualValues(t, 20, f.limit("CPUWeight"))
	_, err = p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.EqualValues(t, 300, f.limit("CPUWeight"), "the value of before the boot was put back")
}

func TestSystemdFailures(t *testing.T) {
	f, p := newSystemd(t)
	req := systemdRequest(t, map[string]any{"unit": "batch.service", "properties": map[string]any{"CPUWeight": 20}})
	f.change(func(f *fakeSystemd) { f.deaf = true })
	_, err := p.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "has CPUWeight not set after it was set to 20")
	f.change(func(f *fakeSystemd) { f.deaf = false; delete(f.limits, "CPUWeight") })
	_, err = p.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "has no property CPUWeight")
	f.change(func(f *fakeSystemd) { f.load = "not-found" })
	_, err = p.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "is not-found")
	res, err := p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Summary, "nothing was shed", "a step that failed keeps nothing")
	f.change(func(f *fakeSystemd) { f.load = "loaded"; f.limits["CPUWeight"] = 150 })
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	f.change(func(f *fakeSystemd) { f.load = "not-found" })
	res, err = p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, []string{"unit batch.service is gone; there is nothing to put back"}, res.Changes)
	p.bus = func() (*busControl, error) {
		return nil, retryable(fmt.Errorf("connect to systemd: refused"), systemdHint)
	}
	_, err = p.Isolate(ctx(t), req)
	require.True(t, failOf(t, err).Retryable)
}

func TestSystemdFreezesAndThaws(t *testing.T) {
	f, p := newSystemd(t)
	req := systemdRequest(t, map[string]any{"unit": "batch.service", "action": "freeze"})
	res, err := p.Isolate(ctx(t), planned(req))
	require.NoError(t, err)
	require.Equal(t, "would: unit batch.service: running → frozen", res.Summary)
	require.Empty(t, f.done())
	for range 2 {
		_, err = p.Isolate(ctx(t), req)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"freeze batch.service"}, f.done())
	for range 2 {
		_, err = p.Reintegrate(ctx(t), req)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"freeze batch.service", "thaw batch.service"}, f.done())

	f.change(func(f *fakeSystemd) { f.freezer = "frozen" }) // by somebody else
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	res, err = p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Changes[0], "was frozen before")
	require.Len(t, f.done(), 2)

	f.change(func(f *fakeSystemd) { f.active, f.freezer = "inactive", "running" })
	res, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Changes[0], "nothing to freeze")
	f.change(func(f *fakeSystemd) { f.freezer = "" })
	_, err = p.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "cannot freeze")
}

func TestSystemdStopsAndStarts(t *testing.T) {
	f, p := newSystemd(t)
	req := systemdRequest(t, map[string]any{"unit": "reports.timer", "action": "stop"})
	res, err := p.Isolate(ctx(t), planned(req))
	require.NoError(t, err)
	require.Equal(t, []string{"unit reports.timer: active (sub) → stopped"}, res.Changes)
	require.Empty(t, f.done())
	for range 2 {
		_, err = p.Isolate(ctx(t), req)
		require.NoError(t, err)
	}
	for range 2 {
		_, err = p.Reintegrate(ctx(t), req)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"stop reports.timer", "start reports.timer"}, f.done())

	// One that did not run is left alone, unless somebody starts it meanwhile.
	f.change(func(f *fakeSystemd) { f.active, f.jobs = "inactive", nil })
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	res, err = p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Changes[0], "did not run before")
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	f.change(func(f *fakeSystemd) { f.active = "active" })
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	_, err = p.Reintegrate(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, []string{"stop reports.timer", "start reports.timer"}, f.done())

	f.change(func(f *fakeSystemd) { f.transient = true })
	_, err = p.Isolate(ctx(t), req)
	require.ErrorContains(t, err, "is transient")
}

func TestSystemdSparesTheAgentsOwnUnit(t *testing.T) {
	f, p := newSystemd(t)
	require.NoError(t, os.WriteFile(p.host.fs.root+"/self/cgroup", []byte("4:cpu:/batch.service\n0::/ops.slice/shivx-worker.service\n"), 0o600))
	for _, unit := range []string{"shivx-worker.service", "ops.slice"} {
		for _, action := range []string{"stop", "freeze"} {
			_, err := p.Isolate(ctx(t), planned(systemdRequest(t, map[string]any{"unit": unit, "action": action})))
			require.ErrorContains(t, err, "the agent itself runs in "+unit)
		}
	}
	for _, unit := range []string{"shivx-worker.service", "ops.slice", "-.slice"} {
		for name, value := range map[string]any{"MemoryMax": "1M", "TasksMax": 1, "CPUQuota": "1%"} {
			_, err := p.Isolate(ctx(t), systemdRequest(t, map[string]any{"unit": unit, "properties": map[string]any{name: value}}))
			var bad *sdk.OptionError
			require.ErrorAs(t, err, &bad, "%s of %s", name, unit)
		}
	}
	require.Empty(t, f.done())
	_, err := p.Isolate(ctx(t), systemdRequest(t, map[string]any{"unit": "ops.slice", "properties": map[string]any{"CPUWeight": 20, "TasksMax": "infinity"}}))
	require.NoError(t, err, "these neither kill nor starve")
	_, err = p.Isolate(ctx(t), systemdRequest(t, map[string]any{"unit": "batch.service", "action": "freeze"}))
	require.NoError(t, err, "a cgroup of version 1 is no unit")
}

func TestSystemdSparesTheHost(t *testing.T) {
	f, p := newSystemd(t)
	for _, unit := range []string{
		"init.scope", "-.slice", "system.slice", "home.mount", "-.mount", "dbus.service", "dbus.socket", "dbus-broker.service",
		"systemd-journald.service", "systemd-udevd-kernel.socket", "sysinit.target", "basic.target",
	} {
		req := systemdRequest(t, map[string]any{"unit": unit, "action": "stop"})
		require.ErrorContains(t, p.CheckOptions(req.Options), "the host cannot do without "+unit)
		_, err := p.Isolate(ctx(t), req)
		require.ErrorContains(t, err, "the host cannot do without "+unit)
		_, err = p.Reintegrate(ctx(t), req)
		require.NoError(t, err, "what was once shed can be taken back")
	}
	require.Empty(t, f.done())
	for _, unit := range []string{"init.scope", "-.slice"} {
		err := p.CheckOptions(jsonOf(t, map[string]any{"unit": unit, "properties": map[string]any{"MemoryMax": "1M"}}))
		require.ErrorContains(t, err, "holds the first process")
	}
	var log strings.Builder
	p.host.log = slog.New(slog.NewTextHandler(&log, nil))
	_, err := p.Isolate(ctx(t), systemdRequest(t, map[string]any{"unit": "sshd.service", "action": "stop"}))
	require.NoError(t, err)
	require.Contains(t, log.String(), "the way in by SSH")
}

// TestSystemdKeepsBeforeTheEffect: an agent that dies between the two has lost nothing.
func TestSystemdKeepsBeforeTheEffect(t *testing.T) {
	f, p := newSystemd(t)
	req := systemdRequest(t, map[string]any{"unit": "batch.service", "properties": map[string]any{"CPUWeight": 20}})
	nowhere := req
	nowhere.WorkDir = "/proc/no-such-folder" // where none can be made
	_, err := p.Isolate(ctx(t), nowhere)
	require.ErrorContains(t, err, "keep the old content")
	require.Empty(t, f.done(), "it was changed, and nobody knows what was before")
	_, err = p.Isolate(ctx(t), req)
	require.NoError(t, err)
	file, err := keptFile(req, "systemd", "property batch.service")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	for _, step := range []sdk.Step{sdk.StepIsolate, sdk.StepReintegrate} {
		_, err = sdk.Dispatch(ctx(t), p, step, req)
		require.ErrorContains(t, err, file)
		require.Contains(t, failOf(t, err).Hint, "by hand")
	}
}

func TestSystemdOptions(t *testing.T) {
	for _, o := range []string{
		`{"unit":"batch.service","properties":{"CPUWeight":20,"MemoryHigh":"1G","CPUQuota":"12.5%","TasksMax":"infinity","MemorySwapMax":0}}`,
		`{"unit":"work@1.service","action":"stop"}`, `{"unit":"user-1000.slice","action":"freeze"}`,
	} {
		require.NoError(t, (&Systemd{}).CheckOptions(json.RawMessage(o)), o)
	}
	for o, want := range map[string]struct{ option, message, hint string }{
		`{}`:                                    {"unit", "is not the name of a unit", "batch.service"},
		`{"unit":"batch"}`:                      {"unit", "is not the name of a unit", ""},
		`{"unit":"a@.service","action":"stop"}`: {"unit", "is not the name of a unit", ""},
		`{"unit":"a.service"}`:                  {"properties", "nothing says what to do", ""},
		`{"unit":"a.service","action":"kill"}`:  {"action", `"kill" is none`, "freeze"},
		`{"unit":"a.service","action":"stop","properties":{"x":1}}`:    {"properties", "not set by action stop", ""},
		`{"unit":"a.timer","action":"freeze"}`:                         {"unit", "a timer cannot be frozen", ""},
		`{"unit":"a.timer","properties":{"CPUWeight":1}}`:              {"unit", "no processes to limit", "action: stop"},
		`{"unit":"a.service","properties":{"CpuWeight":1}}`:            {"properties.CpuWeight", "can be set", `"CPUWeight"`},
		`{"unit":"a.service","properties":{"ExecStart":"x"}}`:          {"properties.ExecStart", "can be set", "these can be set"},
		`{"unit":"a.service","properties":{"CPUWeight":0}}`:            {"properties.CPUWeight", `"0" is not a value`, "1 to 10000"},
		`{"unit":"a.service","properties":{"CPUQuota":"0%"}}`:          {"properties.CPUQuota", "is not a value", "20%"},
		`{"unit":"a.service","properties":{"CPUQuota":20}}`:            {"properties.CPUQuota", "is not a value", ""},
		`{"unit":"a.service","properties":{"MemoryHigh":"20%"}}`:       {"properties.MemoryHigh", "is not a value", "512M"},
		`{"unit":"a.service","properties":{"MemoryHigh":0}}`:           {"properties.MemoryHigh", "is not a value", ""},
		`{"unit":"a.service","properties":{"MemoryHigh":"99999999T"}}`: {"properties.MemoryHigh", "is not a value", ""},
		`{"unit":"a.service","properties":{"MemoryHigh":[1]}}`:         {"properties.MemoryHigh", "whole number", ""},
	} {
		err := (&Systemd{}).CheckOptions(json.RawMessage(o))
		require.ErrorContains(t, err, want.message, o)
		var bad *sdk.OptionError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, want.option, bad.Option())
		require.Contains(t, bad.Fail.Hint, want.hint)
	}
}

func TestSystemdConformance(t *testing.T) {
	f, p := newSystemd(t)
	sdktest.Run(t, sdktest.Suite{
		Plugin:     p,
		Options:    map[string]any{"unit": "batch.service", "properties": map[string]any{"CPUWeight": 20}},
		BadOptions: []any{map[string]any{}, map[string]any{"unit": "x"}, map[string]any{"unit": "x.service", "action": "kill"}},
		State:      func() string { return fmt.Sprint(f.limit("CPUWeight")) },
		Isolated:   func() (bool, error) { return f.limit("CPUWeight") == 20, nil },
	})
	sets := slices.DeleteFunc(f.done(), func(j string) bool { return !strings.HasPrefix(j, "set ") })
	require.Len(t, sets, 2, "a repetition was no repetition")
}
