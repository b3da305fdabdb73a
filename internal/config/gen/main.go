// Command gen writes what is made from the configuration's structs into the folder of the documentation:
// the JSON Schema and the tables of CONFIG.md.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/shivx/shivx/internal/config"
)

// The tables of CONFIG.md stand between these two lines.
const (
	begin = "<!-- reference: made by go generate ./internal/config -->\n"
	end   = "<!-- reference: end -->\n"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	if err := renameio.WriteFile(filepath.Join(dir, "shivx.schema.json"), config.Schema(), 0o644); err != nil {
		return fmt.Errorf("write the schema: %w", err)
	}
	path := filepath.Join(dir, "CONFIG.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the reference: %w", err)
	}
	head, rest, found := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s lacks the lines between which the tables stand", path)
	}
	if err := renameio.WriteFile(path, []byte(head+begin+"\n"+config.Reference()+end+tail), 0o644); err != nil {
		return fmt.Errorf("write the reference: %w", err)
	}
	return nil
}
