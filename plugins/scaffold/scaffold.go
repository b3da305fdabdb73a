// Package scaffold writes the beginning of a recovery plugin in Go: a module that builds, works
// and passes its own conformance test, for the author to change.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"text/template"
)

// The templates end in .tmpl, so that the go command takes none of them for code of this module.
//
//go:embed template
var templates embed.FS

var goodName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// New writes a plugin named name into dir, which must not exist or be empty. The module is
// complete after `go mod tidy`.
func New(dir, name string) error {
	if !goodName.MatchString(name) {
		return fmt.Errorf("%q is not a plugin name; use small letters, digits and hyphens, and begin with a letter", name)
	}
	if err := emptyDir(dir); err != nil {
		return err
	}
	entries, err := fs.ReadDir(templates, "template")
	if err != nil {
		return fmt.Errorf("read templates: %w", err)
	}
	data := struct{ Name, Type, Version string }{name, typeName(name), version()}
	for _, e := range entries {
		if err := write(dir, e.Name(), data); err != nil {
			return err
		}
	}
	return nil
}

func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make plugin folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read plugin folder: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	return nil
}

func write(dir, file string, data any) (err error) {
	t, err := template.ParseFS(templates, "template/"+file)
	if err != nil {
		return fmt.Errorf("template %s: %w", file, err)
	}
	name := strings.TrimSuffix(file, ".tmpl")
	if name == "gitignore" {
		name = ".gitignore"
	}
	out, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("write plugin: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := t.Execute(out, data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// typeName turns "rotate-keys" into "RotateKeys".
func typeName(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// version is the release of ShivX this program was built from, or "" for a build between releases.
func version() string {
	const module = "github.com/shivx/shivx"
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Path != module || strings.Contains(info.Main.Version, "-") || !strings.HasPrefix(info.Main.Version, "v") {
		return ""
	}
	return info.Main.Version
}
