package sdktest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// The test executable is also the plugins it checks: "sdktest.test plugin FAULT FILE".
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "plugin" {
		sdk.Serve(remover{fault: os.Args[2], file: os.Args[3]})
		return
	}
	os.Exit(m.Run())
}

// remover repairs a target by removing a file; it takes no options.
type remover struct{ fault, file string }

func (remover) Describe() sdk.Description {
	return sdk.Description{Name: "remover", Version: "1", RecoveryType: "state", Summary: "removes a file", Idempotent: true}
}

func (p remover) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	if err := req.Decode(&struct{}{}); err != nil {
		return sdk.Result{}, err
	}
	if req.Plan {
		return sdk.Result{Summary: "would remove " + p.file}, nil
	}
	switch p.fault {
	case "lies":
		return sdk.Result{Summary: "removed it"}, nil
	case "crashes":
		os.Exit(7)
	case "hangs for ever":
		select {}
	case "deaf":
		if end, ok := ctx.Deadline(); ok && time.Until(end) < time.Second {
			select {}
		}
	}
	if err := os.Remove(p.file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return sdk.Result{}, err
	}
	return sdk.Result{Summary: "removed it"}, nil
}

func TestProgramsAreCheckedLikePluginsInProcess(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for fault, want := range map[string]struct{ check, message string }{
		"none":           {"recover", ""},
		"lies":           {"recover", "success that did not happen"},
		"crashes":        {"recover", "exit status 7"},
		"hangs for ever": {"recover", "did not stop when it was told to"},
		"deaf":           {"cancel", "did not stop within"},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "fault")
			exists := func() bool { _, err := os.Stat(file); return err == nil }
			findings := sdktest.Check(t.Context(), sdktest.Suite{
				Command: []string{self, "plugin", fault, file},
				Break:   func() error { return os.WriteFile(file, nil, 0o600) },
				Healthy: func() error {
					if exists() {
						return errors.New("the fault is there")
					}
					return nil
				},
				State:   func() string { return map[bool]string{true: "broken", false: "fine"}[exists()] },
				Timeout: 3 * time.Second, Settle: 50 * time.Millisecond,
			})
			for _, f := range findings {
				if f.Check == want.check && want.message != "" {
					require.Equal(t, sdktest.Failed, f.Verdict)
					require.Contains(t, f.Message, want.message)
					continue
				}
				require.NotEqual(t, sdktest.Failed, f.Verdict, f)
			}
		})
	}
}
