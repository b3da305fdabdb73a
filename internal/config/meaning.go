package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shivx/shivx"
)

// checkMeaning checks what concerns more than one key.
func (d *decoder) checkMeaning() {
	cfg := d.cfg
	plugins := d.names()
	for i := range cfg.Plugins {
		p := &cfg.Plugins[i]
		plugins.add(&p.Name, p.Name, "plugin")
		if _, builtIn := d.known.Plugins[p.Name]; builtIn {
			d.add(d.at(&p.Name), fmt.Sprintf("%q is the name of a built-in plugin", p.Name), "choose another name")
		}
	}
	components, notify := d.names(), d.names()
	for i := range cfg.Components {
		c := &cfg.Components[i]
		components.add(&c.Name, c.Name, "component")
		d.checkComponent(c)
	}
	for i := range cfg.Notify {
		n := &cfg.Notify[i]
		notify.add(nameOrSelf(d, &n.Name, n), n.Name, "notify entry")
	}
	d.checkDependencies()
	d.checkResilience()
	d.checkGuardian()
	d.checkGolden()
	d.checkForecast()
}

// names finds names that are used twice.
type names struct {
	d    *decoder
	seen map[string]*node
}

func (d *decoder) names() names { return names{d, map[string]*node{}} }

func (n names) add(ptr any, name, what string) {
	if name == "" {
		return
	}
	place := n.d.at(ptr)
	if first, ok := n.seen[name]; ok {
		hint := fmt.Sprintf("it is already in line %d", first.line)
		if place.text != name {
			hint += "; give each a name of its own with name: NAME"
		}
		n.d.add(place, fmt.Sprintf("duplicate %s name %q", what, name), hint)
		return
	}
	n.seen[name] = place
}

// nameOrSelf returns the pointer to a name, or to what has it when the name is not in the file.
func nameOrSelf(d *decoder, name *string, self any) any {
	if d.has(name) {
		return name
	}
	return self
}

func (d *decoder) checkComponent(c *Component) {
	checks, rungs := d.names(), d.names()
	for i := range c.Checks {
		k := &c.Checks[i]
		checks.add(nameOrSelf(d, &k.Name, k), k.Name, "check")
	}
	d.checkState(&c.State)
	if d.has(&c.Isolate) {
		d.checkUse(&c.Isolate, "isolate")
	}
	for i := range c.Ladder {
		s := &c.Ladder[i]
		rungs.add(nameOrSelf(d, &s.Name, s), s.Name, "strategy")
		d.checkUse(&s.Use, "recover")
		d.checkApproval(&s.Approval)
	}
	if l := &c.Limits; l.MaxCooldown < l.Cooldown {
		at := any(&l.MaxCooldown)
		if !d.has(at) {
			at = &l.Cooldown
		}
		d.add(d.at(at), fmt.Sprintf("\"max_cooldown\" (%s) is less than \"cooldown\" (%s)", l.MaxCooldown, l.Cooldown), "raise \"max_cooldown\" or lower \"cooldown\"")
	}
	for i := range c.Alerts {
		d.checkLabels(&c.Alerts[i])
	}
}

// checkApproval refuses an approval that could never be given.
func (d *decoder) checkApproval(a *Approval) {
	if m := len(a.Of); m > 0 && a.Required > m {
		d.add(d.at(&a.Required), fmt.Sprintf("%d must approve, but only %d may", a.Required, m),
			"lower \"required\" or name more people in \"of\"")
	}
}

// checkLabels refuses labels that no alert can have.
func (d *decoder) checkLabels(labels *map[string]string) {
	for _, p := range d.at(labels).pairs {
		if !variableName.MatchString(p.key.text) {
			d.add(p.key, fmt.Sprintf("%q is not a label name", p.key.text), "use letters, digits and \"_\"")
		}
	}
}

// checkUse checks that the plugin exists, can do the step it is there for, and takes its options.
func (d *decoder) checkUse(u *Use, step string) { d.checkPlugin(&u.Plugin, &u.Options, step) }

func (d *decoder) checkPlugin(plugin *string, with *map[string]any, step string) {
	if *plugin == "" {
		return
	}
	anchored(*with, d.dir)
	info, builtIn := d.known.Plugins[*plugin]
	if !builtIn {
		d.checkConfigured(plugin)
		return
	}
	if slices.Contains(info.Cannot, step) {
		d.add(d.at(plugin), fmt.Sprintf("plugin %q cannot %s", *plugin, step), "these can: "+strings.Join(d.known.able(step), ", "))
		return
	}
	if !info.checks() || d.has(with) && *with == nil {
		return
	}
	options, err := optionsJSON(*plugin, *with)
	if err == nil {
		err = info.check(step, options)
	}
	d.optionProblems(plugin, with, err)
}

// check checks options for a step.
func (p PluginInfo) check(step string, options json.RawMessage) error {
	if p.CheckOptionsFor != nil {
		return p.CheckOptionsFor(step, options)
	}
	return p.CheckOptions(options)
}

func (p PluginInfo) checks() bool { return p.CheckOptionsFor != nil || p.CheckOptions != nil }

// able returns the built-in plugins that have the step.
func (k Known) able(step string) []string {
	var names []string
	for name, info := range k.Plugins {
		if !slices.Contains(info.Cannot, step) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// checkConfigured checks that the file configures the plugin.
func (d *decoder) checkConfigured(plugin *string) {
	available := slices.Sorted(maps.Keys(d.known.Plugins))
	for i := range d.cfg.Plugins {
		if d.cfg.Plugins[i].Name == *plugin {
			return
		}
		available = append(available, d.cfg.Plugins[i].Name)
	}
	d.add(d.at(plugin), fmt.Sprintf("unknown plugin %q", *plugin), suggest(*plugin, available, "known"))
}

// optionProblems reports a plugin's error, or each of several, at the option it names.
func (d *decoder) optionProblems(plugin *string, with *map[string]any, err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			d.optionProblems(plugin, with, e)
		}
		return
	}
	at := d.at(plugin)
	if p, ok := d.places[with]; ok {
		at = p.key
		if named, ok := errors.AsType[OptionError](err); ok {
			at = optionPlace(p.key, p.value, named.Option())
		}
	}
	d.addKey(at, fmt.Sprintf("plugin %q: %s", *plugin, strings.ReplaceAll(err.Error(), "\n", " ")), shivx.HintOf(err))
}

// optionPlace returns the key of an option, or as much of its path as the file has. A key may
// have dots in it itself.
func optionPlace(place, options *node, option string) *node {
	for option != "" {
		if key, _ := options.lookup(option); key != nil {
			return key
		}
		part, rest, _ := strings.Cut(option, ".")
		key, value := options.lookup(part)
		if key == nil {
			break
		}
		place, options, option = key, value, rest
	}
	return place
}

// checkDependencies checks that dependencies exist and do not go round in a circle.
func (d *decoder) checkDependencies() {
	var known []string
	for _, c := range d.cfg.Components {
		if c.Name != "" {
			known = append(known, c.Name)
		}
	}
	for i := range d.cfg.Components {
		c := &d.cfg.Components[i]
		for j := range c.DependsOn {
			name := c.DependsOn[j]
			if name == "" || contains(known, name) {
				continue
			}
			others := slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == c.Name })
			d.add(d.at(&c.DependsOn[j]), fmt.Sprintf("unknown component %q", name), suggest(name, others, "known"))
		}
	}
	for _, cycle := range d.cfg.cycles() {
		d.add(d.at(cycle.closing), "dependency cycle: "+strings.Join(cycle.path, " → "), "remove one of these dependencies")
	}
}
