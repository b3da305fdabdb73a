// Package examples tests the example plugins that are not Go modules of their own.
package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/host"
	"github.com/shivx/shivx/plugins/sdk"
	"github.com/shivx/shivx/plugins/sdktest"
)

// pythonPlugin returns the path of the plugin, and skips when Python lacks what it imports.
func pythonPlugin(t *testing.T) string {
	t.Helper()
	python := testenv.Need(t, "python3")[0]
	if python != "/usr/bin/python3" {
		if _, err := os.Stat("/usr/bin/python3"); err != nil {
			testenv.Missing(t, "needs /usr/bin/python3")
		}
	}
	out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf, cryptography").CombinedOutput()
	if err != nil {
		testenv.Missing(t, "needs the packages python3-grpcio, python3-protobuf and python3-cryptography: "+string(out))
	}
	path, err := filepath.Abs("python-stale-lock/stale_lock.py")
	require.NoError(t, err)
	return path
}

// deadPID returns the id of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	return cmd.Process.Pid
}

func TestPythonPluginThroughTheHost(t *testing.T) {
	path := pythonPlugin(t)
	sum, err := host.Sum(path)
	require.NoError(t, err)
	set := host.New(nil, []host.Spec{{Name: "stale-lock", Path: path, SHA256: sum}}, nil)
	t.Cleanup(set.Close)
	r, err := set.Get(t.Context(), "stale-lock")
	require.NoError(t, err)
	require.Equal(t, "state", r.Describe().RecoveryType)
	require.Equal(t, []sdk.Step{"recover", "undo", "check"}, r.Describe().Steps)

	lock := filepath.Join(t.TempDir(), "service.pid")
	require.NoError(t, os.WriteFile(lock, fmt.Appendf(nil, "%d\n", deadPID(t)), 0o600))
	var progress []string
	req := sdk.Request{Key: "run/1", Options: fmt.Appendf(nil, `{"lock":%q}`, lock), WorkDir: t.TempDir()}
	reply, err := r.Run(t.Context(), sdk.StepRecover, req.WithProgress(func(s string) { progress = append(progress, s) }))
	require.NoError(t, err)
	require.Contains(t, reply.Summary, "removed "+lock)
	require.NoFileExists(t, lock)
	require.Len(t, progress, 1)

	require.NoError(t, os.WriteFile(lock, fmt.Appendf(nil, "%d", os.Getpid()), 0o600))
	_, err = r.Run(t.Context(), sdk.StepRecover, req)
	require.ErrorContains(t, err, "which is alive")
	require.FileExists(t, lock)

	req.Options = []byte(`{"lokc":"/x"}`)
	_, err = r.Run(t.Context(), sdk.StepCheck, req)
	var option interface{ Option() string }
	require.ErrorAs(t, err, &option)
	require.Equal(t, "lokc", option.Option())
}

func TestPythonPluginConforms(t *testing.T) {
	path := pythonPlugin(t)
	lock := filepath.Join(t.TempDir(), "service.pid")
	sdktest.Run(t, sdktest.Suite{
		Command:    []string{path},
		Options:    map[string]string{"lock": lock},
		BadOptions: []any{map[string]string{"lock": "relative.pid"}, map[string]int{"lock": 1}},
		Break: func() error {
			return os.WriteFile(lock, fmt.Append(nil, deadPID(t)), 0o600)
		},
		Healthy: func() error {
			if _, err := os.Stat(lock); err == nil {
				return fmt.Errorf("%s is there", lock)
			}
			return nil
		},
		State: func() string {
			data, err := os.ReadFile(lock)
			return fmt.Sprint(string(data), err)
		},
	})
}

func TestPythonContractIsCurrent(t *testing.T) {
	protoc := testenv.Need(t, "protoc")[0]
	dir := t.TempDir()
	out, err := exec.Command(protoc, "-I", "../proto", "--python_out="+dir, "recovery.proto").CombinedOutput()
	require.NoError(t, err, string(out))
	want, err := os.ReadFile(filepath.Join(dir, "recovery_pb2.py"))
	require.NoError(t, err)
	got, err := os.ReadFile("python-stale-lock/recovery_pb2.py")
	require.NoError(t, err)
	require.Equal(t, descriptor(t, want), descriptor(t, got), "protoc -I plugins/proto --python_out=plugins/examples/python-stale-lock recovery.proto")
}

// descriptor returns the line that holds the contract; the rest differs with protoc's version.
func descriptor(t *testing.T, source []byte) string {
	t.Helper()
	for l := range strings.Lines(string(source)) {
		if strings.HasPrefix(l, "DESCRIPTOR = ") {
			return l
		}
	}
	t.Fatal("no descriptor in the generated file")
	return ""
}
