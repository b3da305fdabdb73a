package builtin

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// vitalUnits are what a host cannot do without while it runs, as patterns: the first process, the
// root of all units, what systemd itself consists of and is reached by, and the file systems.
func vitalUnits() []string {
	return []string{"init.scope", "-.slice", "system.slice", "*.mount", "dbus*", "systemd-*", "sysinit.target", "basic.target"}
}

// remoteUnits are those by which people come in from elsewhere.
func remoteUnits() []string { return []string{"ssh.*", "sshd.*", "sshd@*"} }

func matches(unit string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, unit) // the patterns are good, and a name has no slash
		return ok
	})
}

// vital refuses what no host survives, as far as the name tells.
func (o systemdOptions) vital(want []property) error {
	const hint = "name the unit of what is to give way"
	switch {
	case o.Action != actionProperty && matches(o.Unit, vitalUnits()):
		return sdk.BadOption("unit", hint, "the host cannot do without %s; action %s is not done to it", o.Unit, o.Action)
	case o.Action == actionProperty && matches(o.Unit, []string{"init.scope", "-.slice"}) && hardLimit(want) != "":
		return sdk.BadOption("unit", hint+", or use a weight", "%s holds the first process; it gets no %s", o.Unit, hardLimit(want))
	}
	return nil
}

// hardLimit names a property beyond which processes are killed, refused or held up; "" when none
// is limited.
func hardLimit(want []property) string {
	for _, p := range want {
		if p.value != notSet && slices.Contains([]string{"MemoryMax", "TasksMax", "CPUQuota"}, p.name) {
			return p.name
		}
	}
	return ""
}

// spare refuses to shed load at the cost of the agent itself, or of what the host cannot do without.
func (h *host) spare(s *unitStep) error {
	if err := s.vital(s.want); err != nil {
		return err
	}
	limit := hardLimit(s.want)
	if s.Action == actionStart || s.Action == actionProperty && limit == "" {
		return nil
	}
	ours, err := h.ours(s.Unit)
	switch {
	case err != nil:
		return err
	case ours && limit != "":
		return sdk.BadOption("properties."+limit, "name the unit of what is to give way, or use a weight",
			"the agent itself runs in %s; it could be killed, or too slow to put anything back", s.Unit)
	case ours:
		return sdk.BadOption("unit", "name the unit of what is to give way, and run the agent in another",
			"the agent itself runs in %s; after a %s it could not put anything back", s.Unit, s.Action)
	case limit == "" && matches(s.Unit, remoteUnits()):
		h.log.Warn("a load-shedding hook takes away the way in by SSH", "unit", s.Unit, "action", s.Action)
	}
	return nil
}

// ours says whether the agent runs in a unit: its own, or a slice above that.
func (h *host) ours(unit string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(h.fs.root, "self/cgroup"))
	if err != nil {
		return false, fmt.Errorf("which unit the agent runs in: %w", err)
	}
	ours := unit == "-.slice"
	for line := range strings.Lines(string(data)) {
		// hierarchy-ID:controllers:path, whose parts are the names of units.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && (fields[1] == "" || fields[1] == "name=systemd") {
			ours = ours || slices.Contains(strings.Split(fields[2], "/"), unit)
		}
	}
	return ours, nil
}
