package openfeature

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/shivx/shivx/internal/testenv"
)

// Command returns the call of evaluate.mjs with arguments, ready to be started. What it needs of
// npm is installed first.
func Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	programs := testenv.Need(t, "node", "npm")
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Dir(file)
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		install := exec.Command(programs[1], "ci", "--no-audit", "--no-fund")
		install.Dir = dir
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("install the OpenFeature SDK: %v\n%s", err, out)
		}
	}
	cmd := exec.Command(programs[0], append([]string{"evaluate.mjs"}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	return cmd
}
