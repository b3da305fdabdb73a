package logs

import (
	"fmt"
	"strings"

	"github.com/shivx/shivx"
)

// format is one that New knows.
type format struct {
	name string
	make func(Options) (Parser, error)
}

// formats is the list of all that there are.
func formats() []format {
	return []format{
		{"sshd", newSSHD},
		{"pam", newPAM},
		{"nginx-access", newNginxAccess},
		{"nginx-error", newNginxError},
		{"apache-access", newApacheAccess},
		{"apache-error", newApacheError},
		{"caddy", newCaddy},
		{"traefik", newTraefik},
		{"haproxy", newHAProxy},
		{"dovecot", newDovecot},
		{"regexp", newPattern},
	}
}

// Formats returns the names of the formats.
func Formats() []string {
	var names []string
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return names
}

// New returns a parser of the format. It fails for an unknown format or mode, and for a pattern that is
// none.
func New(name string, o Options) (Parser, error) {
	switch o.Mode {
	case "", "normal", modeAggressive:
	default:
		return nil, shivx.Hint(fmt.Errorf("%q is no mode of a log", o.Mode), "set mode to normal or aggressive")
	}
	for _, f := range formats() {
		if f.name == name {
			return f.make(o)
		}
	}
	return nil, shivx.Hint(fmt.Errorf("%q is no format of a log", name), "write one of "+strings.Join(Formats(), ", "))
}
