package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnEmptyDatabaseBesideAnOldOneIsTold(t *testing.T) {
	dir := t.TempDir()
	said := func() string {
		t.Helper()
		var out bytes.Buffer
		if err := warnOfEmpty(dir, filepath.Join(dir, "temporal-2.0.0.db"), slog.New(slog.NewTextHandler(&out, nil))); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	leave := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := said(); got != "" {
		t.Errorf("a first start is nothing to warn of: %s", got)
	}
	leave("temporal-1.0.0.db")
	if got := said(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "temporal-1.0.0.db") {
		t.Errorf("the old database is not named: %q", got)
	}
	leave("temporal-2.0.0.db")
	if got := said(); got != "" {
		t.Errorf("nothing is lost any more: %s", got)
	}
}
