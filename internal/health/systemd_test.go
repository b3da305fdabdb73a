package health

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

// units stands for systemd on a real bus: it answers for the properties of its units.
type units map[dbus.ObjectPath]map[string]dbus.Variant

func (u units) GetAll(msg dbus.Message, _ string) (map[string]dbus.Variant, *dbus.Error) {
	path, _ := msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	return u[path], nil
}

func unit(load, active, sub string) map[string]dbus.Variant {
	return map[string]dbus.Variant{"LoadState": dbus.MakeVariant(load), "ActiveState": dbus.MakeVariant(active), "SubState": dbus.MakeVariant(sub)}
}

// bus starts a message bus of the test's own, as the system bus of this process.
func bus(t *testing.T) string {
	t.Helper()
	daemon := testenv.Need(t, "dbus-daemon")[0]
	dir := t.TempDir()
	address := "unix:path=" + filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "bus.conf")
	testenv.WriteFile(t, conf, `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>`+address+`</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>`)
	cmd := exec.Command(daemon, "--nofork", "--nopidfile", "--nosyslog", "--config-file="+conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	return address
}

func TestSystemdCheck(t *testing.T) {
	address := bus(t)
	var conn *dbus.Conn
	await(t, "the bus", func() (ok bool) {
		var err error
		conn, err = dbus.Connect(address)
		return err == nil
	})
	defer func() { _ = conn.Close() }()
	const base = "/org/freedesktop/systemd1/unit/"
	u := units{
		base + "good_2eservice":   unit("loaded", "active", "running"),
		base + "reload_2eservice": unit("loaded", "reloading", "reload"),
		base + "bad_2eservice":    unit("loaded", "failed", "failed"),
		base + "start_2eservice":  unit("loaded", "activating", "auto-restart"),
		base + "ghost_2eservice":  unit("not-found", "inactive", "dead"),
		base + "odd_2eservice":    {},
	}
	for path := range u {
		if err := conn.Export(u, path, "org.freedesktop.DBus.Properties"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.RequestName("org.freedesktop.systemd1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"good": "", "reload": "",
		"bad":   "unit bad.service is failed (failed)",
		"start": "unit start.service is activating (auto-restart)",
		"ghost": "systemd does not know the unit ghost.service",
		"odd":   "unit odd.service: systemd says nothing of its state",
	} {
		expect(t, name, check(t, config.Check{Timeout: 5 * time.Second, Systemd: &config.SystemdCheck{Unit: name + ".service"}}), want)
	}
}

func TestSystemdCheckWithoutABus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "absent"))
	p, err := newProbe(config.Check{Systemd: &config.SystemdCheck{Unit: "x.service"}}, defaultProc)
	if err != nil {
		t.Fatal(err)
	}
	r := p.measure(t.Context())
	expect(t, "no bus", r.Error, "unit x.service: systemd is not reached over D-Bus: *(the host must run systemd*")
}
