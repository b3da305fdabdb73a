package openfeature

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
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
	if !installed(dir) {
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

// installed says whether the packages below a folder are those of its package-lock.json. npm keeps
// what it has installed in a file of the same form, which lacks the entry of the folder itself.
func installed(dir string) bool {
	wanted, err := packagesOf(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return false
	}
	have, err := packagesOf(filepath.Join(dir, "node_modules", ".package-lock.json"))
	delete(wanted, "")
	return err == nil && reflect.DeepEqual(wanted, have)
}

func packagesOf(lock string) (map[string]any, error) {
	b, err := os.ReadFile(lock)
	if err != nil {
		return nil, err
	}
	var file struct {
		Packages map[string]any `json:"packages"`
	}
	return file.Packages, json.Unmarshal(b, &file)
}
