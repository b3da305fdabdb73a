package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
)

// schema is one JSON Schema; its fields are the keywords that are used.
type schema struct {
	Dialect     string     `json:"$schema,omitempty"`
	Title       string     `json:"title,omitempty"`
	Ref         string     `json:"$ref,omitempty"`
	Type        string     `json:"type,omitempty"`
	Description string     `json:"description,omitempty"`
	Default     any        `json:"default,omitempty"`
	Const       any        `json:"const,omitempty"`
	Enum        []string   `json:"enum,omitempty"`
	Pattern     string     `json:"pattern,omitempty"`
	MinLength   int        `json:"minLength,omitempty"`
	Minimum     *int       `json:"minimum,omitempty"`
	Above       *int       `json:"exclusiveMinimum,omitempty"`
	Maximum     *int       `json:"maximum,omitempty"`
	Items       *schema    `json:"items,omitempty"`
	MinItems    int        `json:"minItems,omitempty"`
	UniqueItems bool       `json:"uniqueItems,omitempty"`
	Properties  properties `json:"properties,omitempty"`
	Required    []string   `json:"required,omitempty"`
	// OneOf holds the kinds of a section, of which exactly one is set.
	OneOf      []schema   `json:"oneOf,omitempty"`
	Additional any        `json:"additionalProperties,omitempty"`
	MinProps   int        `json:"minProperties,omitempty"`
	Defs       properties `json:"$defs,omitempty"`
}

// properties is a JSON object that keeps its order.
type properties []property

type property struct {
	key    string
	schema schema
}

// MarshalJSON writes the properties in order.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, prop := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(prop.key)
		if err != nil {
			return nil, err
		}
		value, err := plainJSON(prop.schema)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// plainJSON is json.Marshal without escapes for HTML.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// patterns are the formats that a regular expression can describe.
var patterns = map[string]string{
	"name":     namePattern.String(),
	"nameglob": nameGlobPattern.String(),
	"sha256":   sha256Pattern.String(),
	"url":      `^https?://`,
	"origin":   `^https?://[^/?#@]+/?$`,
	"address":  `^([^/@ ]+:[0-9]+|unix:/.*)$`,
	"listen":   `^(off|[^/@ ]*:[0-9]+)$`,
	"unit":     unitPattern.String(),
	"path":     `^[^~]`,
	"relglob":  `^[^/]`,
	"absglob":  `^(/|\*\*|\{)`,

	"signkey":   signKeyPattern.String(),
	"recipient": recipientPattern.String(),
	"cron":      `^(off|[^ ]+( +[^ ]+){4})$`,

	"clock":  clockPattern.String(),
	"metric": metricPattern.String(),
}

// durationPattern describes durations as Go reads them.
const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors. It is made from the structs.
func Schema() []byte {
	root := sectionSchema(reflect.TypeFor[Config]())
	root.Dialect, root.Title = "https://json-schema.org/draft/2020-12/schema", "ShivX configuration"
	for _, t := range sections() {
		if t != reflect.TypeFor[Config]() {
			root.Defs = append(root.Defs, property{t.Name(), sectionSchema(t)})
		}
	}
	raw, err := plainJSON(root)
	if err != nil {
		panic("config: the schema cannot be encoded: " + err.Error())
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		panic("config: the schema is no JSON: " + err.Error())
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// sections returns the types of all sections, each once, in the order in which they come up.
func sections() []reflect.Type {
	var found []reflect.Type
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type)
	visit = func(t reflect.Type) {
		if seen[t] {
			return
		}
		seen[t] = true
		found = append(found, t)
		for _, f := range fieldsOf(t) {
			if f.elem().Kind() == reflect.Struct {
				visit(f.elem())
			}
		}
	}
	visit(reflect.TypeFor[Config]())
	return found
}

func sectionSchema(t reflect.Type) schema {
	s := schema{Type: "object", Description: comments()[t.Name()], Additional: false}
	for _, f := range fieldsOf(t) {
		s.Properties = append(s.Properties, property{f.key, f.schema()})
		if f.required {
			s.Required = append(s.Required, f.key)
		}
		if f.kind {
			s.OneOf = append(s.OneOf, schema{Required: []string{f.key}})
		}
	}
	return s
}

// schema describes one key.
func (f field) schema() schema {
	s := valueSchema(f, f.typ)
	s.Description = f.doc
	if f.literal() {
		s.Default = f.defaultValue()
	}
	return s
}

// defaultValue is the default as JSON has it.
func (f field) defaultValue() any {
	if i, err := strconv.Atoi(f.def); err == nil && f.elem().Kind() == reflect.Int {
		return i
	}
	if x, err := strconv.ParseFloat(f.def, 64); err == nil && f.elem().Kind() == reflect.Float64 {
		return x
	}
	if f.elem().Kind() == reflect.Bool {
		return f.def == "true"
	}
	return f.def
}

func valueSchema(f field, t reflect.Type) schema {
	switch {
	case t.Kind() == reflect.Pointer:
		return valueSchema(f, t.Elem())
	case t == durationType:
		return schema{Type: "string", Pattern: durationPattern}
	case t.Kind() == reflect.Struct:
		return schema{Ref: "#/$defs/" + t.Name()}
	case t.Kind() == reflect.Slice:
		item := f
		item.required = false
		items := valueSchema(item, t.Elem())
		s := schema{Type: "array", Items: &items, UniqueItems: f.unique}
		if f.required {
			s.MinItems = 1
		}
		return s
	case t == textMapType:
		return schema{Type: "object", Additional: schema{Type: "string"}, MinProps: 1}
	case t.Kind() == reflect.Map:
		return schema{Type: "object"}
	case t.Kind() == reflect.Int:
		return f.integerSchema()
	case t.Kind() == reflect.Float64:
		return f.numberSchema()
	case t.Kind() == reflect.Bool:
		return schema{Type: "boolean"}
	}
	return f.textSchema()
}

func (f field) numberSchema() schema {
	s, zero := schema{Type: "number"}, 0
	switch {
	case f.positive:
		s.Above = &zero
	case f.nonneg:
		s.Minimum = &zero
	}
	return s
}

func (f field) integerSchema() schema {
	s := schema{Type: "integer"}
	switch zero, one := 0, 1; {
	case f.key == "version":
		s.Const = formatVersion
	case f.max > 0:
		s.Minimum, s.Maximum = &f.min, &f.max
	case f.positive:
		s.Minimum = &one
	case f.nonneg:
		s.Minimum = &zero
	}
	return s
}

func (f field) textSchema() schema {
	s := schema{Type: "string", Enum: f.enum, Pattern: patterns[f.format]}
	if f.secret && s.Pattern != "" {
		s.Pattern = "^(env|file):|" + s.Pattern
	}
	if s.Pattern == "" && f.enum == nil && (f.required || f.kind || f.format != "") {
		s.MinLength = 1
	}
	return s
}
