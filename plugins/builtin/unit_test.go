package builtin

import (
	"bufio"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
)

// fakeSystemd answers on a private bus as systemd does, for one unit.
type fakeSystemd struct {
	mu         sync.Mutex
	conn       *godbus.Conn
	active     string
	invocation byte
	result     string
	jobs       []string
	// load and freezer are LoadState and FreezerState; limits are the properties that can be set.
	load      string
	freezer   string
	transient bool
	limits    map[string]uint64
	// deaf makes it take properties without heeding them.
	deaf bool
}

const systemdPath = "/org/freedesktop/systemd1"

func (f *fakeSystemd) job(name, unit string) (godbus.ObjectPath, *godbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs = append(f.jobs, name+" "+unit)
	if f.result == "done" {
		f.active = "active"
		if name == "stop" {
			f.active = "inactive"
		} else {
			f.invocation++
		}
	}
	path := godbus.ObjectPath(fmt.Sprintf("%s/job/%d", systemdPath, len(f.jobs)))
	number, result := uint32(len(f.jobs)), f.result
	go func() {
		_ = f.conn.Emit(systemdPath, "org.freedesktop.systemd1.Manager.JobRemoved", number, path, unit, result)
	}()
	return path, nil
}

// done returns the jobs so far.
func (f *fakeSystemd) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.jobs)
}

// fail makes the jobs that follow end with result.
func (f *fakeSystemd) fail(result string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.result = result
}

func (f *fakeSystemd) Subscribe() *godbus.Error { return nil }
func (f *fakeSystemd) ResetFailedUnit(string) *godbus.Error {
	return nil
}
func (f *fakeSystemd) RestartUnit(unit, _ string) (godbus.ObjectPath, *godbus.Error) {
	return f.job("restart", unit)
}
func (f *fakeSystemd) StartUnit(unit, _ string) (godbus.ObjectPath, *godbus.Error) {
	return f.job("start", unit)
}
func (f *fakeSystemd) StopUnit(unit, _ string) (godbus.ObjectPath, *godbus.Error) {
	return f.job("stop", unit)
}

// SetUnitProperties takes all properties or none, and only until the next boot.
func (f *fakeSystemd) SetUnitProperties(unit string, runtime bool, props []dbus.Property) *godbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	line := "set " + unit
	for _, p := range props {
		_, known := f.limits[p.Name]
		value, ok := p.Value.Value().(uint64)
		if !known || !ok || !runtime {
			return godbus.MakeFailedError(fmt.Errorf("cannot set property %s", p.Name))
		}
		line += fmt.Sprintf(" %s=%d", p.Name, value)
	}
	for _, p := range props {
		if !f.deaf {
			f.limits[p.Name], _ = p.Value.Value().(uint64)
		}
	}
	f.jobs = append(f.jobs, line)
	return nil
}

func (f *fakeSystemd) FreezeUnit(unit string) *godbus.Error {
	return f.freeze("freeze", unit, "frozen")
}
func (f *fakeSystemd) ThawUnit(unit string) *godbus.Error { return f.freeze("thaw", unit, "running") }

func (f *fakeSystemd) freeze(job, unit, state string) *godbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.active != "active" {
		return godbus.MakeFailedError(fmt.Errorf("unit is not active"))
	}
	f.jobs, f.freezer = append(f.jobs, job+" "+unit), state
	return nil
}

// change changes the fake between two steps.
func (f *fakeSystemd) change(how func(*fakeSystemd)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(f)
}

// GetAll answers for the unit's properties; the empty interface has those of all.
func (f *fakeSystemd) GetAll(face string) (map[string]godbus.Variant, *godbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]godbus.Variant{
		"LoadState": godbus.MakeVariant(f.load), "ActiveState": godbus.MakeVariant(f.active), "SubState": godbus.MakeVariant("sub"),
		"InvocationID": godbus.MakeVariant([]byte{f.invocation}), "Transient": godbus.MakeVariant(f.transient),
	}
	if f.freezer != "" {
		all["FreezerState"] = godbus.MakeVariant(f.freezer)
	}
	if face == "" {
		for name, value := range f.limits {
			all[name] = godbus.MakeVariant(value)
		}
	}
	return all, nil
}

// startFakeSystemd returns the fake and the way to reach it.
func startFakeSystemd(t *testing.T) (*fakeSystemd, func() (*busControl, error)) {
	t.Helper()
	program := testenv.Need(t, "dbus-daemon")[0]
	daemon := exec.Command(program, "--session", "--nofork", "--print-address", "--address=unix:dir="+t.TempDir())
	out, err := daemon.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, daemon.Start())
	t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	connect := func() (*godbus.Conn, error) { return godbus.Connect(strings.TrimSpace(address)) }

	f := &fakeSystemd{active: "failed", result: "done", load: "loaded", freezer: "running", limits: map[string]uint64{}}
	f.conn, err = connect()
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.conn.Close() })
	require.NoError(t, f.conn.Export(f, systemdPath, "org.freedesktop.systemd1.Manager"))
	require.NoError(t, f.conn.ExportSubtree(f, systemdPath+"/unit", "org.freedesktop.DBus.Properties"))
	_, err = f.conn.RequestName("org.freedesktop.systemd1", 0)
	require.NoError(t, err)
	return f, func() (*busControl, error) {
		conn, err := dbus.NewConnection(connect)
		if err != nil {
			return nil, err
		}
		return &busControl{conn: conn}, nil
	}
}

func TestProcessRestartsAUnit(t *testing.T) {
	f, control := startFakeSystemd(t)
	h := newHost(nil)
	h.units = func() (unitControl, error) { return control() }
	p := &Process{host: h}
	req := sdk.Request{Key: "k", Component: "web", Options: jsonOf(t, map[string]any{"unit": "web.service"})}
	plan := req
	plan.Plan = true
	res, err := p.Recover(ctx(t), plan)
	require.NoError(t, err)
	require.Equal(t, "would: restart unit web.service, now failed (sub)", res.Summary)
	require.Empty(t, f.done())

	req.Mark, err = p.Mark(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	done, err := p.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.False(t, done)
	res, err = p.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, []string{"restart web.service"}, f.done())
	require.Equal(t, "restart unit web.service: failed became active (sub)", res.Changes[0])
	done, err = p.Done(ctx(t), sdk.StepRecover, req)
	require.NoError(t, err)
	require.True(t, done)

	_, err = p.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Len(t, f.done(), 1, "the same mark restarted it twice")
	f.fail("failed")
	req.Mark = ""
	_, err = p.Recover(ctx(t), req)
	require.ErrorContains(t, err, `systemd's job ended with "failed"`)
	req.Mark = ""
	_, err = p.Done(ctx(t), sdk.StepRecover, req)
	require.ErrorIs(t, err, sdk.ErrUnknown)
}

func TestProcessSaysThatSystemdIsAway(t *testing.T) {
	h := newHost(nil)
	h.units = func() (unitControl, error) {
		return nil, retryable(fmt.Errorf("connect to systemd: refused"), systemdHint)
	}
	_, err := (&Process{host: h}).Recover(ctx(t), sdk.Request{Options: jsonOf(t, map[string]any{"unit": "web.service"})})
	var fail *sdk.Fail
	require.ErrorAs(t, err, &fail)
	require.True(t, fail.Retryable)
	require.Equal(t, systemdHint, fail.Hint)
}
