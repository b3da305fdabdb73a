package shivx_test

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/shivx/shivx"

// layer says what the packages of a folder may import of this module. A folder ending in "/..."
// means the folder and all below it.
type layer struct {
	folder  string
	allowed []string
}

// layers is the import table of docs/ARCHITECTURE.md; the first entry that matches a package holds.
var layers = []layer{
	{".", nil},
	{"activities", []string{"."}},
	{"activities/...", []string{".", "activities", "activities/effect", "activities/recovery/crashpoint", "internal/...", "plugins/host", "plugins/sdk"}},
	{"workflows/...", []string{".", "activities"}},
	{"forecasting/...", nil},
	{"plugins/proto", nil},
	{"plugins/sdk/...", []string{"plugins/proto"}},
	{"plugins/sdktest/...", []string{"plugins/sdk", "plugins/host", "plugins/proto"}},
	{"plugins/host/...", []string{".", "plugins/sdk", "plugins/proto", "internal/..."}},
	{"plugins/builtin/...", []string{".", "plugins/sdk", "internal/..."}},
	{"plugins/scaffold/...", nil},
	{"plugins/examples/...", []string{"plugins/..."}},
	{"internal/golden/format", nil},
	{"internal/golden/store", []string{".", "internal/durable", "internal/golden/format"}},
	{"internal/golden/capture", []string{".", "internal/golden/format"}},
	{"internal/golden/restore", []string{".", "internal/durable", "internal/golden/format"}},
	{"internal/golden/source/...", []string{".", "internal/command", "internal/config", "internal/durable", "internal/golden/format", "internal/ledger", "internal/resp"}},
	{"internal/backtest", []string{".", "forecasting"}},
	{"internal/forecast", []string{".", "internal/...", "forecasting"}},
	{"internal/...", []string{".", "internal/..."}},
	{"worker/...", []string{"..."}},
	{"starter/...", []string{".", "workflows", "activities", "activities/...", "internal/...", "plugins/...", "forecasting"}},
	{"test/...", []string{"..."}},
}

// reserved packages are imported by the folders named alone: internal/history links half of
// Prometheus (docs/adr/0008), and nothing goes past the engine of goldens.
var reserved = map[string][]string{
	"internal/history": {"worker/agent", "test/..."},
	// Pictures link a plotting library with its fonts: the command line asks the agent for them.
	"internal/forecast/picture": {"internal/api", "test/..."},
	// A golden is reached through the engine, or by who runs its steps. A checkpoint is one in a store of its own.
	"internal/golden":         {"activities/golden", "starter", "worker/agent", "test/..."},
	"internal/golden/store":   {"internal/golden", "internal/checkpoint", "activities/golden", "starter", "test/..."},
	"internal/golden/capture": {"internal/golden", "internal/checkpoint", "test/..."},
	"internal/golden/restore": {"internal/golden", "internal/checkpoint", "activities/golden", "starter", "test/..."},
	"internal/golden/signing": {"internal/golden", "internal/checkpoint", "test/..."},
}

func TestArchitecture(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || hasOwnModule(path)) {
			return fs.SkipDir
		}
		p, err := build.ImportDir(path, 0)
		if err != nil {
			return nil // no Go files here
		}
		seen++
		check(t, filepath.ToSlash(path), p.Imports)
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, seen, 10, "the walk found the packages")
}

func hasOwnModule(dir string) bool {
	if dir == "." {
		return false
	}
	matches, _ := filepath.Glob(filepath.Join(dir, "go.mod"))
	return len(matches) > 0
}

func check(t *testing.T, pkg string, imports []string) {
	t.Helper()
	for _, l := range layers {
		if !within(pkg, l.folder) {
			continue
		}
		for _, imp := range imports {
			rest, ours := ourPackage(imp)
			if importers, is := reserved[rest]; is && !allows(importers, pkg) {
				t.Errorf("%s must not import %s, which is for %v", pkg, rest, importers)
			}
			if ours && !allows(l.allowed, rest) {
				t.Errorf("%s must not import %s: see the import table in docs/ARCHITECTURE.md", pkg, rest)
			}
		}
		return
	}
	t.Errorf("%s stands in no layer of the import table", pkg)
}

func ourPackage(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

func allows(allowed []string, pkg string) bool {
	for _, a := range allowed {
		if within(pkg, a) {
			return true
		}
	}
	return false
}

func within(pkg, folder string) bool {
	if folder == "..." {
		return true
	}
	base, below := strings.CutSuffix(folder, "/...")
	return pkg == base || below && strings.HasPrefix(pkg, base+"/")
}
