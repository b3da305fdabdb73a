package api

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// valid says how v differs from a JSON Schema. A keyword it does not know is an error: nothing
// passes because it was not looked at.
func (d *openAPI) valid(schema any, v any, at string) error {
	s := d.resolve(schema)
	if s == nil {
		return fmt.Errorf("%s: no schema", at)
	}
	for keyword, arg := range s {
		check, ok := keywords[keyword]
		if !ok {
			return fmt.Errorf("%s: unknown keyword %q", at, keyword)
		}
		if check == nil {
			continue
		}
		if err := check(d, s, arg, v, at); err != nil {
			return err
		}
	}
	return nil
}

type keyword func(d *openAPI, schema map[string]any, arg, v any, at string) error

// keywords are those of JSON Schema 2020-12 that the document uses; nil ones say nothing about values.
var keywords map[string]keyword

func init() { //nolint:gochecknoinits // the table refers to itself
	keywords = map[string]keyword{
		"description": nil, "examples": nil, "default": nil, "required": nil,
		"type": checkType, "enum": checkEnum, "const": checkConst, "pattern": checkPattern, "format": checkFormat,
		"properties": checkProperties, "additionalProperties": checkAdditional, "items": checkItems, "anyOf": checkAnyOf,
		"minimum": bound(func(v, limit float64) bool { return v >= limit }), "maximum": bound(func(v, limit float64) bool { return v <= limit }),
		"minLength": length(func(n, limit int) bool { return n >= limit }), "maxLength": length(func(n, limit int) bool { return n <= limit }),
		"minItems": length(func(n, limit int) bool { return n >= limit }), "maxItems": length(func(n, limit int) bool { return n <= limit }),
	}
}

func checkType(_ *openAPI, _ map[string]any, arg, v any, at string) error {
	is := "null"
	switch x := v.(type) {
	case bool:
		is = "boolean"
	case float64:
		is = "number"
		if x == float64(int64(x)) && arg == "integer" {
			is = "integer"
		}
	case string:
		is = "string"
	case []any:
		is = "array"
	case map[string]any:
		is = "object"
	}
	types, several := arg.([]any)
	if arg == is || several && slices.Contains(types, any(is)) {
		return nil
	}
	return fmt.Errorf("%s is %s, not %v", at, is, arg)
}

func checkEnum(_ *openAPI, _ map[string]any, arg, v any, at string) error {
	if !slices.Contains(arg.([]any), v) {
		return fmt.Errorf("%s is %v, not one of %v", at, v, arg)
	}
	return nil
}

func checkConst(_ *openAPI, _ map[string]any, arg, v any, at string) error {
	if arg != v {
		return fmt.Errorf("%s is %v, not %v", at, v, arg)
	}
	return nil
}

func checkPattern(_ *openAPI, _ map[string]any, arg, v any, at string) error {
	if text, ok := v.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(text) {
		return fmt.Errorf("%s is %q, which does not match %s", at, text, arg)
	}
	return nil
}

func checkFormat(_ *openAPI, _ map[string]any, arg, v any, at string) error {
	if arg != "date-time" {
		return fmt.Errorf("%s: unknown format %v", at, arg)
	}
	text, _ := v.(string)
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

func checkProperties(d *openAPI, s map[string]any, arg, v any, at string) error {
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	for name, property := range arg.(map[string]any) {
		if value, ok := object[name]; ok {
			if err := d.valid(property, value, at+"."+name); err != nil {
				return err
			}
		}
	}
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			return fmt.Errorf("%s has no %s", at, name)
		}
	}
	return nil
}

func checkAdditional(d *openAPI, s map[string]any, arg, v any, at string) error {
	object, _ := v.(map[string]any)
	properties, _ := s["properties"].(map[string]any)
	for name, value := range object {
		if _, ok := properties[name]; ok {
			continue
		}
		if arg == false {
			return fmt.Errorf("%s has %s, which is not documented", at, name)
		}
		if err := d.valid(arg, value, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func checkItems(d *openAPI, _ map[string]any, arg, v any, at string) error {
	list, _ := v.([]any)
	for i, item := range list {
		if err := d.valid(arg, item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
			return err
		}
	}
	return nil
}

func checkAnyOf(d *openAPI, _ map[string]any, arg, v any, at string) error {
	var err error
	for _, one := range arg.([]any) {
		if err = d.valid(one, v, at); err == nil {
			return nil
		}
	}
	return err
}

func bound(holds func(v, limit float64) bool) keyword {
	return func(_ *openAPI, _ map[string]any, arg, v any, at string) error {
		x, ok := v.(float64)
		if ok && !holds(x, number(arg)) {
			return fmt.Errorf("%s is %v, beyond %v", at, x, arg)
		}
		return nil
	}
}

func length(holds func(n, limit int) bool) keyword {
	return func(_ *openAPI, _ map[string]any, arg, v any, at string) error {
		n := 0
		switch x := v.(type) {
		case string:
			n = len([]rune(x))
		case []any:
			n = len(x)
		default:
			return nil
		}
		if !holds(n, int(number(arg))) {
			return fmt.Errorf("%s has the length %d, beyond %v", at, n, arg)
		}
		return nil
	}
}

func number(v any) float64 {
	x, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil {
		panic(err)
	}
	return x
}

func TestValidatorFindsWhatIsWrong(t *testing.T) {
	d := readOpenAPI(t)
	feature := map[string]any{"$ref": "#/components/schemas/Feature"}
	for text, wrong := range map[string]string{
		`{"name":"a","enabled":true,"reason":"r"}`:                    "",
		`{"name":"a","enabled":true,"reason":"r","off_at":"LEVEL_1"}`: "",
		`{"name":"a","enabled":true}`:                                 "has no reason",
		`{"name":"a","enabled":1,"reason":"r"}`:                       "body.enabled is number, not boolean",
		`{"name":"A b","enabled":true,"reason":"r"}`:                  "does not match",
		`{"name":"a","enabled":true,"reason":"r","off_at":""}`:        "not one of",
		`{"name":"a","enabled":true,"reason":"r","x":1}`:              "not documented",
	} {
		var v any
		require.NoError(t, json.Unmarshal([]byte(text), &v))
		err := d.valid(feature, v, "body")
		if wrong == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, wrong)
	}
	require.ErrorContains(t, d.valid(map[string]any{"uniqueItems": true}, []any{}, "body"), "unknown keyword")
}
