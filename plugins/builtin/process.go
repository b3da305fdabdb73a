package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/shivx/shivx/plugins/sdk"
)

// Process is the plugin "process": it restarts a service. What it starts runs in a session of
// its own and outlives the agent. Nothing is started before the old processes are gone, and an
// agent that is killed in the middle finds out afterwards whether the start took place.
type Process struct{ host *host }

var (
	_ sdk.Plugin         = (*Process)(nil)
	_ sdk.Resumer        = (*Process)(nil)
	_ sdk.OptionsChecker = (*Process)(nil)
)

type processOptions struct {
	serviceOptions
	// AwaitRestart leaves the start to a supervisor: the process of PIDFile is ended, and a new
	// one is waited for.
	AwaitRestart bool `json:"await_restart"`
	// RestartTimeout is how long the supervisor may take; default 30s.
	RestartTimeout sdk.Duration `json:"restart_timeout"`
}

func (o processOptions) restartTimeout() time.Duration {
	if o.RestartTimeout == 0 {
		return 30 * time.Second
	}
	return time.Duration(o.RestartTimeout)
}

// Describe says what the plugin is.
func (*Process) Describe() sdk.Description {
	return sdk.Description{
		Name: "process", Version: version, RecoveryType: "process", Idempotent: true,
		Summary: "Restarts a service: a command, a systemd unit, or a process that a supervisor brings back",
	}
}

// CheckOptions checks the options of a strategy.
func (*Process) CheckOptions(options json.RawMessage) error {
	var o processOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	ways := 0
	for _, given := range []bool{len(o.Start) > 0, o.Unit != "", o.AwaitRestart} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return sdk.BadOption("start", "for example start: [redis-server, /etc/redis/redis.conf]",
			"exactly one of start, unit and await_restart says how the service is restarted")
	case o.AwaitRestart && o.PIDFile == "":
		return sdk.BadOption("pid_file", "name the file the supervisor or the service writes", "await_restart needs it")
	case o.RestartTimeout < 0:
		return sdk.BadOption("restart_timeout", "", "is negative")
	}
	return nil
}

func (p *Process) open(req sdk.Request) (processOptions, service, error) {
	if err := p.CheckOptions(req.Options); err != nil {
		return processOptions{}, service{}, err
	}
	var o processOptions
	err := req.Decode(&o)
	return o, service{serviceOptions: o.serviceOptions, host: p.host, req: req}, err
}

// Recover restarts the service.
func (p *Process) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, s, err := p.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	leave, err := p.host.alone(ctx, req.Component)
	if err != nil {
		return sdk.Result{}, err
	}
	defer leave()
	var changes []string
	switch {
	case o.Unit != "":
		changes, err = s.restartUnit(ctx)
	case o.AwaitRestart:
		changes, err = s.awaitRestart(ctx, o.restartTimeout())
	default:
		changes, err = s.restart(ctx)
	}
	return sdk.Result{Summary: summary(req, changes, "restarted "+req.Component), Changes: changes}, err
}

// restartUnit restarts the unit, once per mark.
func (s service) restartUnit(ctx context.Context) ([]string, error) {
	if s.req.Mark != "" {
		done, err := s.done(ctx)
		if err != nil {
			return nil, err
		}
		if done {
			return []string{"already restarted: unit " + s.Unit}, nil
		}
	}
	return s.unitJob(ctx, "restart")
}

// summary is one line for people; a plan speaks of what would be.
func summary(req sdk.Request, changes []string, did string) string {
	if req.Plan {
		return "would: " + strings.Join(changes, "; ")
	}
	return did
}

// restart stops what runs and starts the service, once per key.
func (s service) restart(ctx context.Context) ([]string, error) {
	who, done, err := s.started()
	if err != nil {
		return nil, err
	}
	if done {
		return []string{"already started: " + who}, nil
	}
	if s.req.Plan {
		return s.planRestart()
	}
	changes, err := s.stop(ctx)
	if err != nil {
		return changes, err
	}
	s.req.Progress("starting %s", s.Start[0])
	more, err := s.start(ctx)
	return append(changes, more...), err
}

func (s service) planRestart() ([]string, error) {
	changes, err := s.planStop()
	return append(changes, s.planStart()), err
}

func (s service) planStart() string {
	text := "start " + strings.Join(s.Start, " ")
	if s.User != "" {
		text += " as " + s.User
	}
	return text
}

// awaitRestart ends the process and waits for a supervisor to bring another.
func (s service) awaitRestart(ctx context.Context, limit time.Duration) ([]string, error) {
	old, alive, err := s.supervised()
	if err != nil {
		return nil, err
	}
	if mark, ok := parseMark(s.req.Mark); ok && alive && !mark.names(old) {
		return []string{"already restarted: " + old.String()}, nil
	}
	if s.req.Plan {
		if !alive {
			return []string{fmt.Sprintf("wait up to %s for the supervisor to start it", limit)}, nil
		}
		return []string{fmt.Sprintf("end %s by TERM, after %s by KILL", old, s.stopTimeout()),
			fmt.Sprintf("wait up to %s for the supervisor to start it anew", limit)}, nil
	}
	var changes []string
	if alive {
		sendSignal(s.host.fs, []proc{old}, syscall.SIGTERM)
		if !s.host.fs.awaitExit(ctx, old, s.stopTimeout()) {
			sendSignal(s.host.fs, []proc{old}, syscall.SIGKILL)
			s.host.fs.awaitExit(ctx, old, killTimeout)
		}
		changes = append(changes, "ended "+old.String())
	}
	next, err := s.awaitSuccessor(ctx, old, limit)
	if err != nil {
		return changes, err
	}
	return append(changes, "the supervisor started "+next.String()), nil
}

func (s service) awaitSuccessor(ctx context.Context, old proc, limit time.Duration) (proc, error) {
	deadline := time.Now().Add(limit)
	for {
		if p, alive, err := s.supervised(); err == nil && alive && (p.pid != old.pid || p.start != old.start) {
			return p, nil
		}
		if time.Now().After(deadline) {
			return proc{}, retryable(fmt.Errorf("no new process in %s after %s", s.PIDFile, limit),
				"is the supervisor running, and does it or the service write that file?")
		}
		select {
		case <-ctx.Done():
			return proc{}, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// supervised is the process the pid file names.
func (s service) supervised() (proc, bool, error) {
	pid, since := readPIDFile(s.PIDFile)
	p, ok := s.host.fs.read(pid)
	if !ok || !s.isService(p, since) {
		return proc{}, false, nil
	}
	if s.host.fs.family()[p.pid] {
		return proc{}, false, sdk.Failf("correct pid_file", "%s names %s, under which this agent runs", s.PIDFile, p)
	}
	return p, true, nil
}
