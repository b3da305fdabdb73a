package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/shivx/shivx"
)

// Known tells the checker what exists outside the file.
type Known struct {
	// Plugins are the built-in plugins by name.
	Plugins map[string]PluginInfo
}

// PluginInfo is what is known about a built-in plugin.
type PluginInfo struct {
	// CheckOptions refuses bad options; nil takes any. Its error may implement OptionError.
	CheckOptions func(json.RawMessage) error
	// CheckOptionsFor, if it is not nil, takes the place of CheckOptions: it also refuses options that
	// do not say what to do in the step, isolate or recover.
	CheckOptionsFor func(step string, options json.RawMessage) error
	// Cannot names those of the steps isolate and recover that it has not.
	Cannot []string
}

// OptionError is an error that knows which option is wrong; the problem is then shown at its key.
type OptionError interface {
	error
	// Option is the key; dots lead into nested maps.
	Option() string
}

// maxFile is the size above which a file is no configuration.
const maxFile = 1 << 20

// Load reads, checks and completes the file at path. What is wrong in it comes as *[Errors],
// all problems at once. Other than Parse it also checks what is outside the file: the files of
// external plugins, and the accounts of budgets.
func Load(path string, known Known) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("read the configuration: %w", err),
			"give the path of an existing YAML file that this user may read")
	}
	d, err := parse(path, src, known)
	if err != nil {
		return nil, err
	}
	d.checkPluginFiles()
	d.checkAccounts()
	d.checkGoldenAccounts()
	cfg, err := d.result()
	if err != nil {
		return nil, err
	}
	if cfg.File, err = filepath.EvalSymlinks(path); err == nil {
		cfg.File, err = filepath.Abs(cfg.File)
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return cfg, nil
}

// Parse is Load for a text; name stands in problems, and relative paths are relative to its folder.
func Parse(name string, src []byte, known Known) (*Config, error) {
	d, err := parse(name, src, known)
	if err != nil {
		return nil, err
	}
	return d.result()
}

// parse decodes and checks src. It returns an error when the syntax is wrong, for then nothing else can be said.
func parse(name string, src []byte, known Known) (*decoder, error) {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("find the folder of %s: %w", name, err)
	}
	rep := newReport(name)
	root := readTree(rep, src)
	if root == nil {
		errs := tidy(*rep.problems)
		return nil, &errs
	}
	d := &decoder{report: rep, dir: dir, known: known, cfg: Default(), places: map[any]place{}, strangers: map[*node]bool{}}
	d.value(root, reflect.ValueOf(d.cfg).Elem(), field{})
	d.inherit(root)
	d.checkMeaning()
	return d, nil
}

// result returns the configuration, or all problems.
func (d *decoder) result() (*Config, error) {
	if len(*d.problems) == 0 {
		return d.cfg, nil
	}
	errs := tidy(*d.problems)
	return nil, &errs
}

// readTree parses src; nil after a problem of syntax.
func readTree(rep report, src []byte) *node {
	src = []byte(lineBreaks.Replace(string(bytes.TrimPrefix(src, []byte("\ufeff")))))
	if !readable(rep, src) {
		return nil
	}
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		syntaxProblem(rep, err)
		return nil
	}
	t := &tree{report: rep, lines: splitLines(src), anchors: map[string]*node{}}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if body != nil {
			rep.add(t.start(doc.Body), "a second YAML document", "one file holds one configuration; delete the line ---")
			break
		}
		body = doc.Body
	}
	if body == nil {
		rep.add(&node{line: 1, col: 1}, "the file is empty", "begin with: version: 1")
		return nil
	}
	root := t.node(body)
	if t.tooLarge {
		return nil
	}
	return root
}

// readable reports what is no text.
func readable(rep report, src []byte) bool {
	if len(src) > maxFile {
		rep.add(nil, fmt.Sprintf("the file has %d bytes; at most %d are read", len(src), maxFile), "is it the right file?")
		return false
	}
	if !flat(rep, src) {
		return false
	}
	line, col := 1, 1
	for rest := src; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		place := &node{line: line, col: col}
		switch {
		case r == utf8.RuneError && size == 1:
			rep.add(place, fmt.Sprintf("not UTF-8: byte 0x%02x", rest[0]), "save the file as UTF-8")
			return false
		case r < ' ' && r != '\n' && r != '\t':
			rep.add(place, fmt.Sprintf("control character 0x%02x", r), "delete it, or write it as an escape in double quotes")
			return false
		case r == '\n':
			line, col = line+1, 0
		}
		col++
		rest = rest[size:]
	}
	return true
}

// flat refuses nesting that no person writes, before the parser's time grows with its square.
func flat(rep report, src []byte) bool {
	brackets := 0
	for i, line := range strings.Split(string(src), "\n") {
		brackets += strings.Count(line, "[") + strings.Count(line, "{") - strings.Count(line, "]") - strings.Count(line, "}")
		indent := len(line) - len(strings.TrimLeft(line, " -?"))
		if brackets > 10*maxDepth || indent > 10*maxDepth || strings.Count(line, "[")+strings.Count(line, "{") > 10*maxDepth {
			rep.add(&node{line: i + 1, col: 1}, fmt.Sprintf("nested more than %d levels deep", maxDepth), "")
			return false
		}
	}
	return true
}

// syntaxHints say what to do about messages of the parser.
var syntaxHints = []struct{ part, hint string }{
	{"tab", "use spaces instead of tabs"},
	{"'\t'", "use spaces instead of tabs"},
	{"reserved character", "put the value in quotes"},
	{"mapping value is not allowed", "is the key indented too far, or does a value hold \": \" without quotes?"},
	{"value is not allowed", "is the line indented like its neighbours?"},
	{"end character", "close the quotes"},
	{"must be specified", "close the bracket"},
	{"unexpected key name", "is there a colon missing?"},
}

func syntaxProblem(rep report, err error) {
	var located interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &located) || located.GetToken() == nil || located.GetToken().Position == nil {
		rep.add(nil, "not valid YAML: "+err.Error(), "")
		return
	}
	message, hint := located.GetMessage(), ""
	for _, h := range syntaxHints {
		if strings.Contains(message, h.part) {
			hint = h.hint
			break
		}
	}
	pos := located.GetToken().Position
	message = strings.ReplaceAll(message, "'\t'", "TAB")
	rep.addProblem(Problem{Line: pos.Line, Column: max(pos.Column, 1), Message: "not valid YAML: " + message, Hint: hint, syntax: true})
}
