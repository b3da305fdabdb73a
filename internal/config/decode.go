package config

import (
	"fmt"
	"reflect"
	"strings"
)

// place is where a key and its value stand in the file.
type place struct{ key, value *node }

// decoder fills a Config from nodes. It keeps going after each problem.
type decoder struct {
	report
	dir   string
	known Known
	cfg   *Config
	// places has an entry for each key and item of the file, by pointer to what it was decoded into.
	places map[any]place
	// strangers are maps with an unknown key; what they lack may be that key.
	strangers map[*node]bool
}

// has says whether the file sets the field that ptr points to, rightly or not.
func (d *decoder) has(ptr any) bool { _, ok := d.places[ptr]; return ok }

// at returns the place of the value that ptr points to; the root's when the file does not have it.
func (d *decoder) at(ptr any) *node {
	if p, ok := d.places[ptr]; ok {
		return p.value
	}
	return d.places[d.cfg].value
}

func (d *decoder) mark(v reflect.Value, key, value *node) {
	d.places[v.Addr().Interface()] = place{key, value}
}

// value decodes n into v. The rules of f hold for scalars and for each item of a list.
func (d *decoder) value(n *node, v reflect.Value, f field) {
	if !d.has(v.Addr().Interface()) {
		d.mark(v, n, n)
	}
	if d.broken[n] {
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		setDefault(target.Elem(), f)
		v.Set(target)
		d.value(n, target.Elem(), f)
	case v.Type() == durationType:
		d.duration(n, v, f)
	case !d.shaped(n, v.Type(), f):
	case v.Kind() == reflect.Struct:
		d.section(n, v)
	case v.Kind() == reflect.Slice:
		d.list(n, v, f)
	case v.Type() == anyMapType:
		v.Set(reflect.ValueOf(d.free(n)))
	case v.Type() == textMapType:
		d.textMap(n, v, f)
	case v.Kind() == reflect.Int:
		d.integer(n, v, f)
	case v.Kind() == reflect.Float64:
		d.number(n, v, f)
	case v.Kind() == reflect.Bool:
		v.SetBool(strings.EqualFold(n.text, "true"))
	default:
		d.text(n, v, f)
	}
}

// section decodes a map with known keys.
func (d *decoder) section(n *node, v reflect.Value) {
	fields := fieldsOf(v.Type())
	meant := map[string]bool{}
	for _, p := range n.pairs {
		f, ok := fieldNamed(fields, p.key.text)
		if !ok {
			meant[d.unknownKey(p.key, v.Type(), n)] = true
			continue
		}
		target := v.FieldByIndex(f.index)
		d.mark(target, p.key, p.value)
		d.value(p.value, target, f)
	}
	set := 0
	var kinds []string
	for _, f := range fields {
		present := n.get(f.key) != nil
		if f.required && !present && !meant[f.key] {
			d.add(n, fmt.Sprintf("%q is missing", f.key), example(f))
		}
		if f.kind {
			kinds = append(kinds, f.key)
			if present {
				set++
			}
		}
	}
	d.kinds(n, kinds, set)
}

// kinds checks that exactly one of the keys that exclude each other is set.
func (d *decoder) kinds(n *node, kinds []string, set int) {
	if len(kinds) == 0 || set == 1 || set == 0 && d.strangers[n] {
		return
	}
	hint := "set exactly one of " + strings.Join(kinds, ", ")
	if set == 0 {
		d.add(n, "no kind is set", hint)
		return
	}
	first := ""
	for _, p := range n.pairs {
		switch {
		case !contains(kinds, p.key.text):
		case first == "":
			first = p.key.text
		default:
			d.addKey(p.key, fmt.Sprintf("%q cannot stand beside %q", p.key.text, first), hint)
		}
	}
}

func fieldNamed(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// unknownKey reports a key and returns the one that was probably meant.
func (d *decoder) unknownKey(key *node, section reflect.Type, parent *node) string {
	d.strangers[parent] = true
	var keys, below []string
	for _, f := range fieldsOf(section) {
		keys = append(keys, f.key)
		if f.elem().Kind() != reflect.Struct {
			continue
		}
		if _, ok := fieldNamed(fieldsOf(f.elem()), key.text); ok {
			below = append(below, fmt.Sprintf("%q", f.key))
		}
	}
	near := nearest(key.text, keys)
	hint := suggest(key.text, keys, "known here")
	if len(below) > 0 && (near == "" || distance(key.text, near) > 1) {
		hint = "it belongs under " + strings.Join(below, " or ")
	}
	d.addKey(key, fmt.Sprintf("unknown key %q", masked(key.text)), hint)
	return near
}

// list decodes a list; all items are checked.
func (d *decoder) list(n *node, v reflect.Value, f field) {
	if f.required && len(n.items) == 0 {
		d.add(n, fmt.Sprintf("%q is empty", f.key), example(f))
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	seen := map[string]int{}
	for i, item := range n.items {
		target := v.Index(i)
		setDefault(target, field{})
		d.value(item, target, f)
		if first, dup := seen[item.text]; dup && f.unique {
			d.add(item, fmt.Sprintf("%s is listed twice", shown(item, f)), fmt.Sprintf("it is already in line %d", first))
		} else if item.text != "" {
			seen[item.text] = item.line
		}
	}
}

// textMap decodes a map of texts such as environment variables.
func (d *decoder) textMap(n *node, v reflect.Value, f field) {
	values := map[string]string{}
	for _, p := range n.pairs {
		var text string
		if d.shaped(p.value, reflect.TypeFor[string](), field{key: p.key.text, rules: f.rules}) {
			text = p.value.text
			d.reference(p.value, p.key.text, f)
		}
		values[p.key.text] = text
	}
	if len(values) == 0 {
		d.add(n, subject(f, v.Type())+" is empty", "write KEY: value, or delete it")
	}
	v.Set(reflect.ValueOf(values))
}

// examples are the values that hints show for missing keys.
var examples = map[string]string{
	"version": "1", "use": "PLUGIN", "address": "HOST:PORT", "url": "http://HOST/PATH", "unit": "NAME.service",
	"dsn": "env:NAME", "match": "\"**/PATTERN\"", "sha256": "and what sha256sum FILE prints",
}

// example says how a missing key is written.
func example(f field) string {
	switch {
	case examples[f.key] != "":
		return "write " + f.key + ": " + examples[f.key]
	case len(f.enum) > 0:
		return "write " + f.key + ": " + strings.Join(f.enum, " or ")
	case f.typ.Kind() == reflect.Slice && f.elem().Kind() == reflect.String:
		return "write " + f.key + ": [ITEM, …]"
	case f.typ.Kind() == reflect.Slice:
		return "give at least one"
	case f.elem().Kind() == reflect.Int || f.elem().Kind() == reflect.Float64:
		return "write " + f.key + ": NUMBER"
	}
	return "write " + f.key + ": " + strings.ToUpper(f.key)
}
