package config

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// field is one key of a section: what the struct field, its tags and its comment say about it.
type field struct {
	key   string
	index []int
	typ   reflect.Type
	// doc is the comment, on one line.
	doc string
	// def is the default as it is written in the file; in parentheses when it is described, not written.
	def string
	rules
}

// rules are the checks of one key, read from the struct tag `rule:"a,b,…"`. For a list they hold for each item,
// except required (not empty) and unique (no item twice).
type rules struct {
	required, positive, nonneg, unique bool
	// kind: exactly one of the keys of the section with this rule is set.
	kind bool
	// secret: the value is never shown.
	secret bool
	// format is a key of formats.
	format   string
	enum     []string
	min, max int
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	anyMapType   = reflect.TypeFor[map[string]any]()
	textMapType  = reflect.TypeFor[map[string]string]()
)

// literal says whether the default is a value rather than a description.
func (f field) literal() bool { return f.def != "" && !strings.HasPrefix(f.def, "(") }

// elem is the type of the value, or of the items of a list, without pointers.
func (f field) elem() reflect.Type { return elemOf(f.typ) }

func elemOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

var fieldCache sync.Map // reflect.Type → []field

// fieldsOf returns the keys of a section in the order of the struct, inlined ones included.
func fieldsOf(t reflect.Type) []field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]field)
	}
	var fields []field
	for _, sf := range reflect.VisibleFields(t) {
		key, option, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if option == "inline" || key == "" || key == "-" {
			continue
		}
		fields = append(fields, field{
			key: key, index: sf.Index, typ: sf.Type,
			doc: describe(owner(t, sf.Index), sf.Name, key), def: sf.Tag.Get("default"),
			rules: parseRules(sf.Tag.Get("rule")),
		})
	}
	fieldCache.Store(t, fields)
	return fields
}

// owner returns the struct in which the field at index is written.
func owner(t reflect.Type, index []int) reflect.Type {
	for _, i := range index[:len(index)-1] {
		t = t.Field(i).Type
	}
	return t
}

func parseRules(tag string) rules {
	var r rules
	for word := range strings.SplitSeq(tag, ",") {
		name, arg, _ := strings.Cut(word, "=")
		switch name {
		case "required":
			r.required = true
		case "positive":
			r.positive = true
		case "nonneg":
			r.nonneg = true
		case "unique":
			r.unique = true
		case "kind":
			r.kind = true
		case "secret":
			r.secret = true
		case "enum":
			r.enum = strings.Split(arg, "|")
		case "range":
			low, high, _ := strings.Cut(arg, "-")
			r.min, _ = strconv.Atoi(low)
			r.max, _ = strconv.Atoi(high)
		default:
			r.format = name
		}
	}
	return r
}

var (
	//go:embed config.go
	configSource string
	//go:embed checks.go
	checksSource string
	//go:embed resilience.go
	resilienceSource string
	//go:embed guardian.go
	guardianSource string
	//go:embed golden.go
	goldenSource string
	//go:embed forecast.go
	forecastSource string
)

// comments returns the doc comments of the package's structs: "Check" and "Check.Every".
var comments = sync.OnceValue(func() map[string]string {
	found := map[string]string{}
	for _, source := range []string{configSource, checksSource, resilienceSource, guardianSource, goldenSource, forecastSource} {
		file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments)
		if err != nil {
			panic("config: its own source does not parse: " + err.Error())
		}
		for _, decl := range file.Decls {
			collectComments(decl, found)
		}
	}
	return found
})

func collectComments(decl ast.Decl, found map[string]string) {
	gen, ok := decl.(*ast.GenDecl)
	if !ok || gen.Tok != token.TYPE {
		return
	}
	for _, spec := range gen.Specs {
		typ := spec.(*ast.TypeSpec)
		found[typ.Name.Name] = oneLine(gen.Doc)
		body, ok := typ.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range body.Fields.List {
			for _, name := range f.Names {
				found[typ.Name.Name+"."+name.Name] = oneLine(f.Doc)
			}
		}
	}
}

func oneLine(doc *ast.CommentGroup) string {
	if doc == nil {
		return ""
	}
	return strings.Join(strings.Fields(doc.Text()), " ")
}

// describe returns the comment of a field, or of its type when it has none, with the key for its first word.
func describe(owner reflect.Type, name, key string) string {
	if doc := comments()[owner.Name()+"."+name]; doc != "" {
		return withKey(doc, name, key)
	}
	sf, _ := owner.FieldByName(name)
	typ := elemOf(sf.Type).Name()
	return withKey(comments()[typ], typ, key)
}

// withKey replaces the Go name a comment begins with by the key, which is what the file's author knows.
func withKey(doc, name, key string) string {
	if rest, ok := strings.CutPrefix(doc, name+" "); ok {
		return "`" + key + "` " + rest
	}
	return doc
}
