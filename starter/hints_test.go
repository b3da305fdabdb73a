package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	// namedCommand is a command line in a text, up to what stands for something else.
	namedCommand = regexp.MustCompile(`\bshivx ((?:[a-z]+|-{1,2}[a-z-]+|[A-Z]+|[a-z]+/[a-zA-Z.-]+)(?: (?:[a-z]+|-{1,2}[a-z-]+|[A-Z]+|[a-z]+/[a-zA-Z.-]+))*)`)
	namedFlag    = regexp.MustCompile(`(?:^|[\s("])--([a-z][a-z-]+)`)
)

// TestHintsNameWhatExists: every command and flag that a text about goldens tells people to use is there.
func TestHintsNameWhatExists(t *testing.T) {
	a := &app{out: screen{fd: -1}, err: screen{fd: -1}}
	root := a.root()
	golden, _, err := root.Find([]string{"golden"})
	if err != nil {
		t.Fatal(err)
	}
	commands, flags := 0, 0
	for file, said := range texts(t, "../internal/golden", "../activities/golden", "../workflows", "../worker/agent", "../internal/config", ".") {
		if filepath.Base(file) == "keys.go" { // names of keys, not commands
			continue
		}
		for _, text := range said {
			about := strings.Contains(filepath.ToSlash(file), "golden") || strings.Contains(text, "shivx golden")
			for _, m := range namedCommand.FindAllStringSubmatch(text, -1) {
				if about && !checkCommand(t, root, file, strings.Fields(m[1])) {
					continue
				}
				commands++
			}
			// Programs of databases have flags of their own.
			if !about || strings.Contains(file, "source") {
				continue
			}
			for _, m := range namedFlag.FindAllStringSubmatch(namedCommand.ReplaceAllString(text, ""), -1) {
				flags++
				if !hasFlag(root, golden, m[1]) {
					t.Errorf("%s: no golden command has the flag --%s: %q", file, m[1], text)
				}
			}
		}
	}
	if commands < 20 || flags < 20 {
		t.Errorf("only %d commands and %d flags were found", commands, flags)
	}
}

// checkCommand checks the words of a command line as far as they are one: behind it the sentence may go on.
func checkCommand(t *testing.T, root *cobra.Command, file string, words []string) bool {
	t.Helper()
	c, rest, err := root.Find(words[:1])
	i := 1
	for ; err == nil && c.HasSubCommands() && i < len(words); i++ {
		next, _, nextErr := root.Find(words[:i+1])
		if nextErr != nil || next == c {
			break
		}
		c = next
	}
	more := i < len(words) && words[i] == strings.ToLower(words[i]) // a word in capitals stands for others
	if err != nil || c == root || len(rest) > 0 || c.Name() == "golden" && more {
		t.Errorf("%s: there is no command shivx %s", file, strings.Join(words, " "))
		return false
	}
	for _, w := range words {
		if name, is := strings.CutPrefix(w, "--"); is && c.Flags().Lookup(name) == nil && c.InheritedFlags().Lookup(name) == nil {
			t.Errorf("%s: %s has no flag %s", file, c.CommandPath(), w)
		}
	}
	return true
}

func hasFlag(root, golden *cobra.Command, name string) bool {
	if root.PersistentFlags().Lookup(name) != nil || name == "help" {
		return true
	}
	for _, c := range golden.Commands() {
		if c.Flags().Lookup(name) != nil {
			return true
		}
	}
	return false
}

// texts are the string literals of the sources below folders, those that are joined as one, by their file.
func texts(t *testing.T, folders ...string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, whole := joined(e)
				if whole {
					all[path] = append(all[path], text)
				}
				return !whole
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// joined is the text of a literal or a sum, in which … stands for what is not known.
func joined(e ast.Expr) (text string, ok bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		left, isLeft := joined(e.X)
		right, isRight := joined(e.Y)
		if e.Op != token.ADD || !isLeft && !isRight {
			return "", false
		}
		return orElse(left, "…") + orElse(right, "…"), true
	}
	return "", false
}
