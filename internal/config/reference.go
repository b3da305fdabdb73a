package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference returns the tables of docs/CONFIG.md: every key with its type, default and meaning.
func Reference() string {
	var b strings.Builder
	where := sectionPaths()
	for _, t := range sections() {
		fmt.Fprintf(&b, "### %s\n\n", sectionTitle(t))
		if paths := where[t]; len(paths) > 0 {
			fmt.Fprintf(&b, "At `%s`.\n", strings.Join(paths, "`, `"))
		}
		fmt.Fprintf(&b, "%s\n\n", comments()[t.Name()])
		b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
		for _, f := range fieldsOf(t) {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.key, cell(f.describeType()), cell(f.describeDefault()), cell(f.doc))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func sectionTitle(t reflect.Type) string {
	if t == reflect.TypeFor[Config]() {
		return "The file"
	}
	return t.Name()
}

// sectionPaths returns where each section stands in the file.
func sectionPaths() map[reflect.Type][]string {
	paths := map[reflect.Type][]string{}
	var visit func(reflect.Type, string)
	visit = func(t reflect.Type, prefix string) {
		for _, f := range fieldsOf(t) {
			if f.elem().Kind() != reflect.Struct {
				continue
			}
			path := prefix + f.key
			if f.typ.Kind() == reflect.Slice {
				path += "[]"
			}
			paths[f.elem()] = append(paths[f.elem()], path)
			visit(f.elem(), path+".")
		}
	}
	visit(reflect.TypeFor[Config](), "")
	return paths
}

// describeType says in words what a key holds.
func (f field) describeType() string {
	words := typeWords(f)
	if f.typ.Kind() == reflect.Slice {
		words = "list of " + words
	}
	switch {
	case len(f.enum) > 0:
		words += ": `" + strings.Join(f.enum, "`, `") + "`"
	case f.max > 0:
		words += fmt.Sprintf(", %d to %d", f.min, f.max)
	case f.positive:
		words += ", more than 0"
	}
	if f.unique {
		words += ", none twice"
	}
	return words
}

func typeWords(f field) string {
	t := f.elem()
	switch {
	case t == durationType:
		return "duration"
	case t == anyMapType:
		return "map"
	case t == textMapType:
		words := "map of text"
		if f.secret {
			words += " or reference"
		}
		return words
	case t.Kind() == reflect.Struct:
		return "[" + t.Name() + "](#" + strings.ToLower(t.Name()) + ")"
	case t.Kind() == reflect.Int:
		return "whole number"
	case t.Kind() == reflect.Float64:
		return "number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	words := map[string]string{
		"name": "name", "path": "path", "sha256": "SHA-256", "url": "URL", "origin": "URL without a path", "address": "HOST:PORT or unix:PATH", "unit": "unit", "listen": "HOST:PORT or `off`", "source": "address or network",
		"nameglob": "name or pattern", "relglob": "glob pattern", "absglob": "glob pattern", "dsn": "connection string",
		"signkey": "public key, base64", "recipient": "public key of age or SSH", "cron": "cron fields or `off`", "timezone": "time zone",
		"clock": "HH:MM", "metric": "name of a metric", "below": "path",
	}[f.format]
	if words == "" {
		words = "text"
	}
	if f.secret {
		words += " or reference"
	}
	return words
}

func (f field) describeDefault() string {
	switch {
	case f.required:
		return "**required**"
	case f.kind:
		return "one of these"
	case f.literal():
		return "`" + f.def + "`"
	}
	return strings.Trim(f.def, "()")
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }
