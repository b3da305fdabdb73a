package config

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// checkGolden checks what concerns more than one key of the section.
func (d *decoder) checkGolden() {
	g := &d.cfg.Golden
	sets := d.names()
	for i := range g.Sets {
		s := &g.Sets[i]
		sets.add(&s.Name, s.Name, "set")
		d.checkSet(s)
	}
}

func (d *decoder) checkSet(s *GoldenSet) {
	if d.has(s) && !d.has(&s.Paths) && !d.has(&s.Sources) && !s.States && !s.Ledgers {
		d.add(d.atEither(&s.Name, s), "the set is empty", "give it at least one of paths, sources, states: true and ledgers: true")
	}
	for i := range s.Paths {
		if s.Paths[i] == "/" {
			d.add(d.at(&s.Paths[i]), "a whole system cannot be put back while it runs", "name folders such as /etc and /srv")
		}
	}
	sources := d.names()
	for i := range s.Sources {
		sources.add(&s.Sources[i].Name, s.Sources[i].Name, "source")
		d.checkPostgres(s.Sources[i].Postgres)
		if c := s.Sources[i].Command; c != nil && c.Pre == nil && c.Post == nil && d.has(&c.Paths) {
			d.add(d.at(&s.Sources[i]), "the source runs no command", "set pre, post or both; files alone go to the set's paths")
		}
	}
	d.checkApproval(&s.Approval)
	if s.Approval.Default == "approve" && s.Approval.Required > 0 {
		d.add(d.atEither(&s.Approval.Default, &s.Approval), "a restore that nobody has approved would begin when the time is over",
			"write default: deny, or required: 0 when nobody has to approve it")
	}
	d.checkServices(s)
}

// checkPostgres refuses keys that the method would not look at.
func (d *decoder) checkPostgres(p *PostgresSource) {
	switch {
	case p == nil:
	case p.Method == "base" && !d.has(&p.DataDirectory):
		d.add(d.at(p), "the method base needs the data folder", "write data_directory: PATH, which SHOW data_directory prints")
	case p.Method == "base" && d.has(&p.Databases):
		d.add(d.at(&p.Databases), "the method base stores the whole server", "delete \"databases\", or write method: dump")
	case p.Method == "base" && d.has(&p.DumpDirectory):
		d.add(d.at(&p.DumpDirectory), "the method base writes no dumps", "delete \"dump_directory\", or write method: dump")
	case p.Method == "dump" && d.has(&p.DataDirectory):
		d.add(d.at(&p.DataDirectory), "the method dump stores no folder", "delete \"data_directory\", or write method: base")
	}
}

// checkServices refuses services that there are not, and an order in which one would start before what it
// needs.
func (d *decoder) checkServices(s *GoldenSet) {
	var known []string
	for _, c := range d.cfg.Components {
		if c.Name != "" {
			known = append(known, c.Name)
		}
	}
	for i := range s.Services {
		name := s.Services[i]
		component, ok := d.cfg.Component(name)
		if !ok && name != "" {
			d.add(d.at(&s.Services[i]), fmt.Sprintf("unknown component %q", name), suggest(name, known, "known"))
			continue
		}
		for _, needed := range component.DependsOn {
			if slices.Contains(s.Services[i+1:], needed) {
				d.add(d.at(&s.Services[i]), fmt.Sprintf("%q would be started before %q, on which it depends", name, needed),
					"write "+strings.Join([]string{needed, name}, " before ")+" in \"services\"")
			}
		}
	}
}

// checkGoldenAccounts checks that the machine knows the accounts that sources name.
func (d *decoder) checkGoldenAccounts() {
	for i := range d.cfg.Golden.Sets {
		for j := range d.cfg.Golden.Sets[i].Sources {
			if p := d.cfg.Golden.Sets[i].Sources[j].Postgres; p != nil {
				d.checkAccount(&p.RunAs, "run_as")
			}
		}
	}
}

// checkAccount checks that the machine knows the account of that name or number; "" is none.
func (d *decoder) checkAccount(name *string, key string) {
	if _, err := strconv.ParseUint(*name, 10, 32); err == nil || *name == "" {
		return
	}
	_, err := user.Lookup(*name)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
		d.add(d.at(name), fmt.Sprintf("%s: no account %q on this machine", key, *name), "write a name of /etc/passwd, or the number that id -u NAME prints")
	}
}
