package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// kind is what a YAML value is.
type kind int

const (
	kindNull kind = iota
	kindBool
	kindInt
	kindFloat
	kindText
	kindList
	kindMap
)

// String names the kind for people.
func (k kind) String() string {
	return [...]string{"nothing", "true or false", "a whole number", "a number with a point or exponent", "text", "a list", "a map"}[k]
}

// node is one YAML value with its place. Aliases share the node of their anchor.
type node struct {
	kind      kind
	line, col int
	// end is the column after the first line of the value's text.
	end int
	// text of a scalar: as written for null, booleans and numbers, else unquoted.
	text  string
	items []*node
	pairs []pair
	// index has the place of each key in pairs.
	index map[string]int
	// size counts the node and all below it, aliases expanded.
	size int
}

type pair struct{ key, value *node }

// get returns the value of key, or nil.
func (n *node) get(key string) *node {
	if _, value := n.lookup(key); value != nil {
		return value
	}
	return nil
}

func (n *node) lookup(key string) (keyNode, value *node) {
	if i, ok := n.index[key]; ok {
		return n.pairs[i].key, n.pairs[i].value
	}
	return nil, nil
}

func (n *node) add(p pair) {
	if n.index == nil {
		n.index = map[string]int{}
	}
	n.index[p.key.text] = len(n.pairs)
	n.pairs = append(n.pairs, p)
	n.size += p.value.size
}

const (
	// maxSize bounds a file with its aliases expanded, so that nested aliases cannot eat all memory.
	maxSize = 200_000
	// maxDepth bounds the nesting.
	maxDepth = 100
)

// tree turns the parser's syntax tree into nodes.
type tree struct {
	report
	lines   []string
	anchors map[string]*node
	depth   int
	// tooLarge: a node above maxSize was reported.
	tooLarge bool
}

// node converts n; nil stands for nothing.
func (t *tree) node(n ast.Node) *node {
	t.depth++
	defer func() { t.depth-- }()
	if n == nil {
		return &node{kind: kindNull, size: 1}
	}
	out := t.at(n.GetToken())
	if t.depth > maxDepth {
		t.add(out, fmt.Sprintf("nested more than %d levels deep", maxDepth), "")
		return out
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		t.mapping(out, n.Values, n.GetToken())
	case *ast.MappingValueNode:
		t.mapping(out, []*ast.MappingValueNode{n}, n.GetToken())
	case *ast.SequenceNode:
		out.kind = kindList
		for _, item := range n.Values {
			child := t.node(item)
			if child.line == 0 {
				child.line, child.col, child.end = out.line, out.col, out.end
			}
			out.items = append(out.items, child)
			out.size += child.size
		}
		t.bound(out)
	case *ast.AnchorNode:
		value := t.node(n.Value)
		if n.Name != nil {
			t.anchors[n.Name.GetToken().Value] = value
		}
		return value
	case *ast.AliasNode:
		return t.alias(out, n)
	case *ast.TagNode:
		t.add(out, "YAML tags (!name) are not used here", "delete it, or put the value in quotes if it is text")
		return t.node(n.Value)
	case *ast.LiteralNode:
		out.kind, out.text = kindText, n.Value.Value
	default:
		t.scalar(out, n.GetToken())
	}
	return out
}

func (t *tree) alias(place *node, n *ast.AliasNode) *node {
	name := n.Value.GetToken().Value
	if anchored, ok := t.anchors[name]; ok {
		return anchored
	}
	var known []string
	for a := range t.anchors {
		known = append(known, a)
	}
	hint := "define it before with &NAME, or put the value in quotes if it is text"
	if near := nearest(name, known); near != "" {
		hint = "did you mean \"*" + near + "\"?"
	}
	t.add(place, "unknown anchor", hint)
	t.broken[place] = true
	return place
}

// mapping fills out with the pairs of a map: explicit ones first, then merged ones (<<) they do not override.
func (t *tree) mapping(out *node, values []*ast.MappingValueNode, start *token.Token) {
	out.kind = kindMap
	if start.Type != token.MappingStartType && len(values) > 0 {
		place := t.at(values[0].Key.GetToken()) // the token of a block map is its first colon
		out.line, out.col, out.end = place.line, place.col, place.end
	}
	var merged []*node
	for _, v := range values {
		if _, ok := v.Key.(*ast.MergeKeyNode); ok {
			merged = append(merged, t.merge(t.at(v.Key.GetToken()), t.node(v.Value))...)
			continue
		}
		key := t.key(v.Key)
		value := t.node(v.Value)
		if value.kind == kindNull && (value.line == 0 || value.text == "null" && value.line == key.line && value.col < key.end+1) {
			value.line, value.col, value.end = key.line, key.col, key.end
		}
		if first, _ := out.lookup(key.text); first != nil {
			t.addKey(key, fmt.Sprintf("duplicate key %q", masked(key.text)), fmt.Sprintf("it is already in line %d", first.line))
			continue
		}
		out.add(pair{key, value})
	}
	for _, m := range merged {
		for _, p := range m.pairs {
			if out.get(p.key.text) == nil {
				out.add(p)
			}
		}
	}
	t.bound(out)
}

// merge returns the maps that the value of a merge key stands for.
func (t *tree) merge(place, value *node) []*node {
	switch {
	case value.kind == kindMap:
		return []*node{value}
	case value.kind == kindList:
		var maps []*node
		for _, item := range value.items {
			maps = append(maps, t.merge(place, item)...)
		}
		return maps
	case !t.broken[value]:
		t.addKey(place, "\"<<\" merges maps, not "+value.kind.String(), "write <<: *ANCHOR")
	}
	return nil
}

func (t *tree) key(k ast.MapKeyNode) *node {
	switch k := k.(type) {
	case *ast.MappingKeyNode:
		return t.keyOf(k.Value)
	default:
		return t.keyOf(k)
	}
}

func (t *tree) keyOf(n ast.Node) *node {
	key := t.node(n)
	if key.kind == kindList || key.kind == kindMap {
		t.add(key, "a key must be text, not "+key.kind.String(), "")
	}
	return key
}

// bound reports the innermost node that is too large; readTree gives up then.
func (t *tree) bound(n *node) {
	if n.size > maxSize && !t.tooLarge {
		t.tooLarge = true
		t.add(n, "too large with its aliases expanded", "")
	}
}

var (
	integer = regexp.MustCompile(`^[-+]?[0-9]+$|^0(x[0-9a-fA-F]+|o[0-7]+)$`)
	// octal numbers of YAML 1.1 are decimal ones in YAML 1.2; they are refused.
	octal = regexp.MustCompile(`^[-+]?0[0-9]+$`)
	float = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$`)
)

// scalar reads a plain or quoted word by the core schema of YAML 1.2.
func (t *tree) scalar(out *node, tk *token.Token) {
	out.text = tk.Value
	switch {
	case tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType:
		out.kind = kindText
	case tk.Type == token.NullType || tk.Type == token.ImplicitNullType:
		out.kind = kindNull
	case tk.Type == token.BoolType:
		out.kind = kindBool
	case integer.MatchString(tk.Value):
		out.kind = kindInt
	case float.MatchString(tk.Value):
		out.kind = kindFloat
	default:
		out.kind = kindText
	}
}

// start returns an empty node where n begins: a map without braces begins with its first key.
func (t *tree) start(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && n.Start.Type != token.MappingStartType {
			return t.at(n.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return t.at(n.Key.GetToken())
	}
	return t.at(n.GetToken())
}

// at returns an empty node at the place of a token. Where the lexer's column is off (tabs
// between key and value), the word is looked for in its line.
func (t *tree) at(tk *token.Token) *node {
	n := &node{size: 1}
	if tk == nil || tk.Position == nil {
		return n
	}
	n.line, n.col = tk.Position.Line, max(tk.Position.Column, 1)
	word, _, _ := strings.Cut(strings.TrimSpace(tk.Origin), "\n")
	word = strings.TrimRight(word, "\r")
	n.end = n.col + utf8.RuneCountInString(word)
	if word == "" || n.line > len(t.lines) {
		return n
	}
	line := []rune(t.lines[n.line-1])
	from := min(n.col-1, len(line))
	if !strings.HasPrefix(string(line[from:]), word) {
		if i := strings.Index(string(line), word); i >= 0 {
			n.col = utf8.RuneCountInString(string(line)[:i]) + 1
			n.end = n.col + utf8.RuneCountInString(word)
		}
	}
	return n
}
