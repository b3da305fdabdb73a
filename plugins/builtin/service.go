package builtin

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/plugins/sdk"
)

// The variables by which a started process is found again.
const (
	effectVar    = "SHIVX_EFFECT"
	componentVar = "SHIVX_COMPONENT"
)

// serviceOptions say how a service is stopped and started; the plugins process and data take them.
type serviceOptions struct {
	// Start is the service itself, or a program that starts it and ends.
	Start []string `json:"start"`
	// Stop asks the service to end; default: the signal TERM.
	Stop []string `json:"stop"`
	// PIDFile names the main process.
	PIDFile string `json:"pid_file"`
	// WritePID lets ShivX write PIDFile, for a service that does not.
	WritePID bool `json:"write_pid"`
	// Dir in which the service is started; default "/".
	Dir string            `json:"dir"`
	Env map[string]string `json:"env"`
	// PassEnv names variables of the agent's own environment to hand on.
	PassEnv []string `json:"pass_env"`
	// User as which the service is started.
	User string `json:"user"`
	// Log gets the standard output and error of the service.
	Log string `json:"log"`
	// Unit is a systemd unit; it excludes all of the above.
	Unit string `json:"unit"`
	// StopTimeout until KILL; default 10s.
	StopTimeout sdk.Duration `json:"stop_timeout"`
	// StartGrace is how long a start is watched for an exit at once; default 50ms.
	StartGrace *sdk.Duration `json:"start_grace"`
}

func (o serviceOptions) stopTimeout() time.Duration {
	if o.StopTimeout == 0 {
		return 10 * time.Second
	}
	return time.Duration(o.StopTimeout)
}

func (o serviceOptions) startGrace() time.Duration {
	if o.StartGrace == nil {
		return 50 * time.Millisecond
	}
	return time.Duration(*o.StartGrace)
}

// managed says whether there is a service to stop and start at all.
func (o serviceOptions) managed() bool { return o.Unit != "" || len(o.Start) > 0 }

func (o serviceOptions) check() error {
	if o.Unit != "" {
		if len(o.Start)+len(o.Stop) > 0 || o.PIDFile != "" || o.Log != "" || o.User != "" {
			return sdk.BadOption("unit", "remove start, stop, pid_file, log and user", "systemd starts and stops the unit itself")
		}
		return nil
	}
	for name, argv := range map[string][]string{"start": o.Start, "stop": o.Stop} {
		if err := checkArgv(name, argv); err != nil {
			return err
		}
	}
	for name, path := range map[string]string{"pid_file": o.PIDFile, "dir": o.Dir, "log": o.Log} {
		if path != "" && !filepath.IsAbs(path) {
			return sdk.BadOption(name, "write an absolute path", "%q is relative", path)
		}
	}
	switch {
	case o.WritePID && o.PIDFile == "":
		return sdk.BadOption("write_pid", "add pid_file", "there is no file to write to")
	case o.StopTimeout < 0:
		return sdk.BadOption("stop_timeout", "", "is negative")
	case o.StartGrace != nil && *o.StartGrace < 0:
		return sdk.BadOption("start_grace", "", "is negative")
	case o.User != "":
		if _, err := user.Lookup(o.User); err != nil {
			return sdk.BadOption("user", "", "%v", err)
		}
	}
	for name := range o.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return sdk.BadOption("env", "", "%q cannot be the name of a variable", name)
		}
	}
	return nil
}

// checkArgv accepts an empty list, and refuses a command line in one word.
func checkArgv(name string, argv []string) error {
	if len(argv) == 0 {
		return nil
	}
	if argv[0] == "" {
		return sdk.BadOption(name, "", "the program's name is empty")
	}
	if len(argv) == 1 && strings.ContainsAny(argv[0], " \t") {
		if _, err := os.Stat(argv[0]); err != nil {
			return sdk.BadOption(name, "write it as a list: ["+strings.Join(strings.Fields(argv[0]), ", ")+"]",
				"%q is a command line; there is no shell to take it apart", argv[0])
		}
	}
	return nil
}

// host is what the plugins that start and stop services share.
type host struct {
	fs    procfs
	log   *slog.Logger
	units func() (unitControl, error)

	mu     sync.Mutex
	inside map[string]chan struct{}
}

func newHost(log *slog.Logger) *host {
	return &host{fs: procfs{root: "/proc"}, log: log, units: systemdUnits, inside: map[string]chan struct{}{}}
}

// alone keeps two steps of one component from starting the same service at once.
func (h *host) alone(ctx context.Context, component string) (leave func(), err error) {
	h.mu.Lock()
	door := h.inside[component]
	if door == nil {
		door = make(chan struct{}, 1)
		h.inside[component] = door
	}
	h.mu.Unlock()
	select {
	case door <- struct{}{}:
		return func() { <-door }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("another step of %s is under way: %w", component, ctx.Err())
	}
}

// service is one service in one step.
type service struct {
	serviceOptions
	host *host
	req  sdk.Request
}

// environ is the environment of the started service: a basic one, the options, and the marks
// by which it is found again. Nothing else of the agent's own is handed on.
func (s service) environ() []string {
	env := map[string]string{}
	for _, name := range s.PassEnv {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	if u, err := user.Lookup(s.User); s.User != "" && err == nil {
		env["HOME"], env["USER"], env["LOGNAME"] = u.HomeDir, u.Username, u.Username
	}
	maps.Copy(env, s.Env)
	env[effectVar], env[componentVar] = s.req.Key, s.owner()
	return command.Environ(env)
}

// owner marks what we start. It tells agents on one machine apart, also when they call a
// component the same.
func (s service) owner() string {
	return s.req.Component + "@" + s.req.Host + ":" + s.req.WorkDir
}

// owns says whether the process carries our mark.
func (s service) owns(p proc) bool { return s.host.fs.hasEnv(p.pid, componentVar, s.owner()) }

// workFile is a file of the plugin's own for the component, "" when it has no folder.
func workFile(req sdk.Request, name string) string {
	if req.WorkDir == "" {
		return ""
	}
	return filepath.Join(req.WorkDir, strings.ReplaceAll(req.Component, "/", "_")+"."+name)
}
