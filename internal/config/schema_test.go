package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parsedSchema is the schema as an editor sees it.
func parsedSchema(t *testing.T) map[string]any {
	t.Helper()
	var s map[string]any
	require.NoError(t, json.Unmarshal(Schema(), &s))
	return s
}

// TestEveryFieldIsInTheSchema walks the structs by itself, by their tags alone.
func TestEveryFieldIsInTheSchema(t *testing.T) {
	root := parsedSchema(t)
	seen := map[reflect.Type]bool{}
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		section := root
		if typ != reflect.TypeFor[Config]() {
			section = root["$defs"].(map[string]any)[typ.Name()].(map[string]any)
		}
		assert.NotEmpty(t, section["description"], typ.Name())
		assert.Equal(t, false, section["additionalProperties"], typ.Name())
		checkFields(t, typ, section["properties"].(map[string]any), walk)
	}
	walk(reflect.TypeFor[Config]())
	assert.Greater(t, len(seen), 20)
}

func checkFields(t *testing.T, typ reflect.Type, properties map[string]any, walk func(reflect.Type)) {
	for f := range typ.Fields() {
		tag := f.Tag.Get("yaml")
		if tag == ",inline" {
			checkFields(t, f.Type, properties, walk)
			continue
		}
		if tag == "-" { // not of the file
			continue
		}
		property, ok := properties[tag].(map[string]any)
		if assert.True(t, ok, "%s.%s is not in the schema", typ.Name(), f.Name) {
			assert.NotEmpty(t, property["description"], "%s.%s has no comment", typ.Name(), f.Name)
			assert.True(t, property["type"] != nil || property["$ref"] != nil, "%s.%s has no type", typ.Name(), f.Name)
		}
		elem := f.Type
		for elem.Kind() == reflect.Pointer || elem.Kind() == reflect.Slice {
			elem = elem.Elem()
		}
		if elem.Kind() == reflect.Struct {
			walk(elem)
		}
	}
}

func TestRuleTagsAreKnown(t *testing.T) {
	for _, typ := range sections() {
		for _, f := range fieldsOf(typ) {
			if f.format != "" {
				assert.Contains(t, formats, f.format, "%s.%s", typ.Name(), f.key)
			}
		}
	}
}

// TestFilesMadeFromTheStructsAreFresh compares what go generate writes with what is on disk.
func TestFilesMadeFromTheStructsAreFresh(t *testing.T) {
	const hint = "run: go generate ./internal/config"
	onDisk, err := os.ReadFile("../../docs/shivx.schema.json")
	require.NoError(t, err)
	assert.Equal(t, string(Schema()), string(onDisk), hint)
	doc, err := os.ReadFile("../../docs/CONFIG.md")
	require.NoError(t, err)
	assert.Contains(t, string(doc), "made by go generate ./internal/config -->\n\n"+Reference()+"<!-- reference: end -->", hint)
}

// TestReferenceHasEveryKey looks for each key in the table of its section.
func TestReferenceHasEveryKey(t *testing.T) {
	sectionsByTitle := map[string]string{}
	for part := range strings.SplitSeq(Reference(), "### ") {
		title, body, _ := strings.Cut(part, "\n")
		sectionsByTitle[title] = body
	}
	for _, typ := range sections() {
		for _, f := range fieldsOf(typ) {
			row := regexp.MustCompile(`(?m)^\| ` + "`" + regexp.QuoteMeta(f.key) + "`" + ` \| .+ \| .* \| .+ \|$`)
			assert.Regexp(t, row, sectionsByTitle[sectionTitle(typ)])
		}
	}
}

// TestFullExampleUsesEveryKey keeps the example complete.
func TestFullExampleUsesEveryKey(t *testing.T) {
	used := map[string]bool{}
	var walk func(n *node, typ reflect.Type)
	walk = func(n *node, typ reflect.Type) {
		for _, p := range n.pairs {
			f, _ := fieldNamed(fieldsOf(typ), p.key.text)
			used[typ.Name()+"."+f.key] = true
			items := []*node{p.value}
			if p.value.kind == kindList {
				items = p.value.items
			}
			if f.elem().Kind() == reflect.Struct {
				for _, item := range items {
					walk(item, f.elem())
				}
			}
		}
	}
	for _, name := range []string{"full", "golden_folder"} { // the second has what cannot stand in the first
		source, err := os.ReadFile(filepath.Join("testdata", name, "shivx.yaml"))
		require.NoError(t, err)
		walk(readTree(newReport(name), source), reflect.TypeFor[Config]())
	}
	for _, typ := range sections() {
		for _, f := range fieldsOf(typ) {
			assert.True(t, used[typ.Name()+"."+f.key], "%s.%s is not in testdata/full", typ.Name(), f.key)
		}
	}
}

// readAny reads YAML by the library's own decoder, as an editor would.
func readAny(t *testing.T, path string) any {
	t.Helper()
	source, err := os.ReadFile(path)
	require.NoError(t, err)
	raw, err := yaml.YAMLToJSON(source)
	require.NoError(t, err)
	var value any
	require.NoError(t, json.Unmarshal(raw, &value))
	return value
}

func TestFullExampleIsValidByTheSchema(t *testing.T) {
	root := parsedSchema(t)
	assert.Empty(t, violations(root, root, readAny(t, "testdata/full/shivx.yaml"), "$"))
}

// TestSchemaRefusesWhatTheLoaderRefuses holds for what a schema can see in one place.
func TestSchemaRefusesWhatTheLoaderRefuses(t *testing.T) {
	root := parsedSchema(t)
	for _, name := range []string{
		"unknown_key", "unknown_key_in_check", "wrong_type", "wrong_type_in_component", "bad_duration", "zero_or_negative",
		"number_out_of_range", "missing_required", "empty_text", "check_kinds", "bad_sha256", "bad_word", "bad_name",
		"unsupported_version", "version_as_text", "list_at_the_top", "text_at_the_top", "bad_url", "bad_address", "bad_path", "no_value",
	} {
		value := readAny(t, filepath.Join("testdata", name, "shivx.yaml"))
		assert.NotEmpty(t, violations(root, root, value, "$"), name)
	}
}

// violations checks value by the keywords that Schema uses and returns what is wrong.
func violations(root, s map[string]any, value any, path string) []string {
	if ref, ok := s["$ref"].(string); ok {
		s = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	var found []string
	fail := func(format string, args ...any) { found = append(found, path+": "+fmt.Sprintf(format, args...)) }
	if want, ok := s["type"].(string); ok && jsonType(value, want) != want {
		fail("is no %s", want)
		return found
	}
	if want, ok := s["const"]; ok && want != value {
		fail("is not %v", want)
	}
	switch v := value.(type) {
	case string:
		if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(v) {
			fail("%q does not match %s", v, pattern)
		}
		if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, any(v)) {
			fail("%q is not one of %v", v, enum)
		}
		if least, ok := s["minLength"].(float64); ok && len(v) < int(least) {
			fail("is too short")
		}
	case float64:
		if least, ok := s["minimum"].(float64); ok && v < least {
			fail("%v is too small", v)
		}
		if least, ok := s["exclusiveMinimum"].(float64); ok && v <= least {
			fail("%v is too small", v)
		}
		if most, ok := s["maximum"].(float64); ok && v > most {
			fail("%v is too large", v)
		}
	case []any:
		if least, ok := s["minItems"].(float64); ok && len(v) < int(least) {
			fail("has too few items")
		}
		for i, item := range v {
			found = append(found, violations(root, s["items"].(map[string]any), item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		found = append(found, objectViolations(root, s, v, path)...)
	}
	return found
}

func objectViolations(root, s, value map[string]any, path string) []string {
	var found []string
	properties, _ := s["properties"].(map[string]any)
	for key, v := range value {
		if property, ok := properties[key].(map[string]any); ok {
			found = append(found, violations(root, property, v, path+"."+key)...)
			continue
		}
		switch additional := s["additionalProperties"].(type) {
		case bool:
			found = append(found, path+": unknown key "+key)
		case map[string]any:
			found = append(found, violations(root, additional, v, path+"."+key)...)
		}
	}
	for _, key := range anyList(s["required"]) {
		if _, ok := value[key.(string)]; !ok {
			found = append(found, fmt.Sprintf("%s: lacks %s", path, key))
		}
	}
	if kinds := anyList(s["oneOf"]); len(kinds) > 0 {
		set := 0
		for _, kind := range kinds {
			if _, ok := value[kind.(map[string]any)["required"].([]any)[0].(string)]; ok {
				set++
			}
		}
		if set != 1 {
			found = append(found, fmt.Sprintf("%s: %d kinds are set", path, set))
		}
	}
	return found
}

func anyList(v any) []any {
	list, _ := v.([]any)
	return list
}

func jsonType(value any, want string) string {
	switch v := value.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if want == "integer" && v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	}
	return "null"
}
