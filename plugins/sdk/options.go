package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// OptionError is a Fail about one option, so that the configuration reader can point at it.
type OptionError struct {
	// Name of the option in dotted form, e.g. "pool.size".
	Name string
	Fail *Fail
}

// Error returns the message.
func (e *OptionError) Error() string { return e.Fail.Message }

// Unwrap returns the Fail.
func (e *OptionError) Unwrap() error { return e.Fail }

// Option returns the name of the option at fault.
func (e *OptionError) Option() string { return e.Name }

// BadOption says what is wrong with an option.
func BadOption(name, hint, format string, args ...any) error {
	message := fmt.Sprintf("option %q: ", name) + fmt.Sprintf(format, args...)
	return &OptionError{Name: name, Fail: &Fail{Message: message, Hint: hint}}
}

// Decode reads a strategy's options into v, refusing unknown keys; for CheckOptions.
func Decode(options json.RawMessage, v any) error { return decodeStrict(options, v) }

// decodeStrict is json.Unmarshal that refuses keys v has no field for, also those that differ
// in case alone. No options at all leave v as it is.
func decodeStrict(options json.RawMessage, v any) error {
	if len(bytes.TrimSpace(options)) == 0 || string(bytes.TrimSpace(options)) == "null" {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(options))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return &Fail{Message: "options are not JSON: " + err.Error(), Err: err}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &Fail{Message: "options are not JSON: more than one value"}
	}
	if _, ok := tree.(map[string]any); !ok {
		return &Fail{Message: "options are not a JSON object"}
	}
	if err := refuseUnknown(tree, reflect.TypeOf(v), ""); err != nil {
		return err
	}
	return typeError(json.Unmarshal(options, v))
}

func typeError(err error) error {
	var bad *json.UnmarshalTypeError
	if errors.As(err, &bad) && bad.Field != "" {
		return BadOption(bad.Field, "", "wants %s, got %s", wants(bad.Type), bad.Value)
	}
	if err != nil {
		return &Fail{Message: "options: " + err.Error(), Err: err}
	}
	return nil
}

// wants says in words what a field of type t is given in a configuration.
func wants(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "keys and values"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func refuseUnknown(tree any, t reflect.Type, path string) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	switch node := tree.(type) {
	case map[string]any:
		return refuseUnknownKeys(node, t, path)
	case []any:
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return nil
		}
		for i, item := range node {
			if err := refuseUnknown(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func refuseUnknownKeys(node map[string]any, t reflect.Type, path string) error {
	var fields map[string]reflect.Type
	switch t.Kind() {
	case reflect.Struct:
		fields = map[string]reflect.Type{}
		addFields(fields, t)
	case reflect.Map:
	default:
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(node)) {
		at := strings.TrimPrefix(path+"."+key, ".")
		elem, known := fields[key]
		if fields == nil {
			elem, known = t.Elem(), true
		}
		if !known {
			return unknownOption(at, key, slices.Sorted(maps.Keys(fields)))
		}
		if err := refuseUnknown(node[key], elem, at); err != nil {
			return err
		}
	}
	return nil
}

func unknownOption(at, key string, valid []string) error {
	hint := "this plugin takes no options here"
	if len(valid) > 0 {
		hint = "valid options: " + strings.Join(valid, ", ")
	}
	if near := Nearest(key, valid); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return &OptionError{Name: at, Fail: &Fail{Message: fmt.Sprintf("unknown option %q", at), Hint: hint}}
}

func addFields(fields map[string]reflect.Type, t reflect.Type) {
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-":
		case field.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			addFields(fields, inner)
		case !field.IsExported():
		case name != "":
			fields[name] = field.Type
		default:
			fields[field.Name] = field.Type
		}
	}
}

// Duration is a time.Duration written as "90s" or "5m" in options.
type Duration time.Duration

// UnmarshalJSON reads "90s"; a bare number has no unit and is refused.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%s is not a duration; write it with a unit, such as \"90s\"", data)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it with a unit, such as \"90s\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// MarshalJSON writes the form UnmarshalJSON reads.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }
