package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// site makes three releases, of which the last one is broken and current.
func site(t *testing.T) options {
	t.Helper()
	dir := t.TempDir()
	o := options{Releases: filepath.Join(dir, "releases"), Current: filepath.Join(dir, "current")}
	for _, release := range []string{"2026-01-10", "2026-02-10", "2026-03-10"} {
		if err := os.MkdirAll(filepath.Join(o.Releases, release), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(o.Releases, "2026-03-10"), o.Current); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestConformance(t *testing.T) {
	o := site(t)
	bad := filepath.Join(o.Releases, "2026-03-10")
	sdktest.Run(t, sdktest.Suite{
		Plugin:  Rollback{},
		Options: map[string]string{"releases": o.Releases, "current": o.Current},
		BadOptions: []any{
			map[string]string{"releases": o.Releases},
			map[string]string{"releases": "releases", "current": o.Current},
		},
		Break: func() error {
			return errors.Join(os.Remove(o.Current), os.Symlink(bad, o.Current))
		},
		Healthy: func() error {
			if now, err := os.Readlink(o.Current); err != nil || now == bad {
				return fmt.Errorf("current release is %s (%v)", now, err)
			}
			return nil
		},
		State: func() string {
			now, err := os.Readlink(o.Current)
			return fmt.Sprint(now, err)
		},
	})
}

func TestNoReleaseBeforeTheFirst(t *testing.T) {
	o := site(t)
	for _, release := range []string{"2026-01-10", "2026-02-10"} {
		if err := os.Remove(filepath.Join(o.Releases, release)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Rollback{}.Recover(t.Context(), request(t, o))
	var fail *sdk.Fail
	if !errors.As(err, &fail) || fail.Hint != "keep at least two releases" {
		t.Fatalf("got %v", err)
	}
}

func TestDeploymentUnderWayIsLeftAlone(t *testing.T) {
	o := site(t)
	req := request(t, o)
	if _, err := (Rollback{}).Recover(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(o.Releases, "2026-01-10")
	if err := errors.Join(os.Remove(o.Current), os.Symlink(elsewhere, o.Current)); err != nil {
		t.Fatal(err)
	}
	if _, err := (Rollback{}).Undo(t.Context(), req); err == nil {
		t.Fatal("undo took the link from somebody else")
	}
	if now, _ := os.Readlink(o.Current); now != elsewhere {
		t.Fatalf("current is %s", now)
	}
}

func request(t *testing.T, o options) sdk.Request {
	t.Helper()
	return sdk.Request{
		Key: "run/1", WorkDir: t.TempDir(),
		Options: fmt.Appendf(nil, `{"releases":%q,"current":%q}`, o.Releases, o.Current),
	}
}
