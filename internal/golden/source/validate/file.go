// Package validate reads configurations before they are put in place.
//
// A restore has them staged: the content of a live path lies elsewhere. Files in a known format are
// parsed. Programs such as nginx -t are run in a view of the file system in which the staged content
// lies at its live path, so that they find what their configuration includes by absolute paths.
package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/goccy/go-yaml"

	"github.com/shivx/shivx"
)

// Format is how a file is written.
type Format string

// The formats. Each is UTF-8 without control characters, of at most 64 MB.
const (
	JSON Format = "json"
	YAML Format = "yaml"
	TOML Format = "toml"
)

// maxSize bounds what is read of a file, in bytes.
const maxSize = 64 << 20

// FormatOf says by its name in which format a file is, or "".
func FormatOf(path string) Format {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		return JSON
	case ".yaml", ".yml":
		return YAML
	case ".toml":
		return TOML
	}
	return ""
}

// Problem is what is wrong with a file.
type Problem struct {
	// Path is the live one. Line and Column count from 1; 0: unknown.
	Path         string
	Line, Column int
	Message      string
}

// Error is path:line:column: message.
func (p *Problem) Error() string {
	where := p.Path
	if p.Line > 0 {
		where += fmt.Sprintf(":%d", p.Line)
	}
	if p.Column > 0 {
		where += fmt.Sprintf(":%d", p.Column)
	}
	return where + ": " + p.Message
}

// File parses the file at staged and names it live in errors. An error that is no [Problem] says that
// it cannot be read.
func File(format Format, live, staged string) error {
	data, err := read(staged)
	if err != nil {
		return fmt.Errorf("validate %s: %w", live, err)
	}
	p := checkText(data)
	if p == nil {
		switch format {
		case JSON:
			p = checkJSON(data)
		case YAML:
			p = checkYAML(data)
		case TOML:
			p = checkTOML(data)
		default:
			return fmt.Errorf("validate %s: unknown format %q", live, format)
		}
	}
	if p == nil {
		return nil
	}
	p.Path = live
	return shivx.Hint(p, "the golden has the file as it was captured; restore an older golden, or all but this file")
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = shivx.Hint(fmt.Errorf("larger than %d MB", maxSize>>20), "leave the file out of validate")
	}
	return data, err
}

// checkText finds what no text has, such as the zeros that a disk returns for blocks it has lost.
func checkText(data []byte) *Problem {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return at(data, i, fmt.Sprintf("byte 0x%02x is not UTF-8", data[i]))
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return at(data, i, fmt.Sprintf("control character 0x%02x", r))
		}
		i += n
	}
	return nil
}

// at is a problem at an offset in bytes.
func at(data []byte, offset int, message string) *Problem {
	before := data[:min(max(offset, 0), len(data))]
	line := bytes.Count(before, []byte("\n"))
	return &Problem{Line: line + 1, Column: len(before) - bytes.LastIndexByte(before, '\n'), Message: message}
}

func checkJSON(data []byte) *Problem {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var whole json.RawMessage
	err := json.Unmarshal(data, &whole)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return at(data, int(syntax.Offset)-1, syntax.Error())
	}
	if err != nil {
		return &Problem{Message: err.Error()}
	}
	return checkKeys(data)
}

// checkKeys finds an object with the same key twice: which one counts depends on the reader.
func checkKeys(data []byte) *Problem {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	type level struct {
		keys map[string]bool // nil in a list
		odd  bool            // a value comes next
	}
	var stack []level
	for {
		token, err := d.Token()
		if err != nil {
			return nil // the end: the syntax is known to be right
		}
		top := len(stack) - 1
		key, isText := token.(string)
		switch {
		case token == json.Delim('}') || token == json.Delim(']'):
			stack = stack[:top]
			continue
		case top >= 0 && stack[top].keys != nil && !stack[top].odd && isText:
			if stack[top].keys[key] {
				return at(data, int(d.InputOffset())-len(key)-2, fmt.Sprintf("key %q stands here twice", key))
			}
			stack[top].keys[key], stack[top].odd = true, true
			continue
		case top >= 0:
			stack[top].odd = false
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, level{keys: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, level{})
		}
	}
}

func checkYAML(data []byte) *Problem {
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document any
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			continue
		}
		p := &Problem{Message: strings.TrimSpace(err.Error())}
		if known, ok := errors.AsType[yaml.Error](err); ok {
			p.Message = known.GetMessage()
			if t := known.GetToken(); t != nil && t.Position != nil {
				p.Line, p.Column = t.Position.Line, t.Position.Column
			}
		}
		return p
	}
}

func checkTOML(data []byte) *Problem {
	var whole map[string]any
	_, err := toml.Decode(string(data), &whole)
	if err == nil {
		return nil
	}
	p := &Problem{Message: err.Error()}
	if known, ok := errors.AsType[toml.ParseError](err); ok {
		p.Line, p.Column, p.Message = known.Position.Line, known.Position.Col, known.Message
		if p.Message == "" {
			p.Message = err.Error()
		}
	}
	return p
}
