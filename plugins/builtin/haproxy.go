package builtin

import (
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx/plugins/sdk"
)

// haproxyOptions name one server of one backend of a HAProxy.
type haproxyOptions struct {
	// Socket of the runtime API: a path, or HOST:PORT.
	Socket  string `json:"socket"`
	Backend string `json:"backend"`
	Server  string `json:"server"`
	// Failover names the server that takes over.
	Failover string `json:"failover"`
	// Drain lets sessions end by themselves for up to this long before the server is taken out.
	Drain sdk.Duration `json:"drain"`
	// ReadyTimeout is how long HAProxy may take to find a server up; default 10s.
	ReadyTimeout sdk.Duration `json:"ready_timeout"`
}

// proxyName is what HAProxy allows in names; anything else could smuggle in a second command.
var proxyName = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)

func (o haproxyOptions) check() error {
	if o.Socket == "" {
		return sdk.BadOption("haproxy.socket", "the line `stats socket PATH mode 600 level admin` of haproxy.cfg names it", "is missing")
	}
	for name, value := range map[string]string{"haproxy.backend": o.Backend, "haproxy.server": o.Server} {
		if !proxyName.MatchString(value) {
			return sdk.BadOption(name, "", "%q is not a name in HAProxy", value)
		}
	}
	switch {
	case o.Failover != "" && !proxyName.MatchString(o.Failover):
		return sdk.BadOption("haproxy.failover", "", "%q is not a name in HAProxy", o.Failover)
	case o.Failover == o.Server:
		return sdk.BadOption("haproxy.failover", "name another server of the backend", "is the server itself")
	case o.Drain < 0 || o.ReadyTimeout < 0:
		return sdk.BadOption("haproxy", "", "a duration is negative")
	}
	return nil
}

func (o haproxyOptions) readyTimeout() time.Duration {
	if o.ReadyTimeout == 0 {
		return 10 * time.Second
	}
	return time.Duration(o.ReadyTimeout)
}

func (o haproxyOptions) name(server string) string { return o.Backend + "/" + server }

// The bits of a server's administrative state in `show servers state`. Others tell only how
// it was configured.
const (
	// adminMaint: forced by the API (1), inherited from a tracked server (2), name not resolved (32).
	adminMaint = 0x23
	// adminDrain: forced by the API (8), inherited (16).
	adminDrain = 0x18
)

// serverState is one line of `show servers state`.
type serverState struct {
	// operational: 0 stopped, 1 starting, 2 running, 3 soft-stopping.
	operational int
	admin       int
}

// running says whether the server gets traffic.
func (s serverState) running() bool {
	return s.operational == 2 && s.admin&(adminMaint|adminDrain) == 0
}

// maint says whether the server gets none.
func (s serverState) maint() bool { return s.admin&adminMaint != 0 }

// word is the state as `set server … state` takes it.
func (s serverState) word() string {
	switch {
	case s.maint():
		return "maint"
	case s.admin&adminDrain != 0:
		return "drain"
	}
	return "ready"
}

// String describes the state for people.
func (s serverState) String() string {
	if w := s.word(); w != "ready" {
		return w
	}
	names := []string{"down", "starting", "up", "stopping"}
	if s.operational >= 0 && s.operational < len(names) {
		return names[s.operational]
	}
	return "in state " + strconv.Itoa(s.operational)
}

const haproxyHint = "is HAProxy running, and is its stats socket at level admin and open to the agent's user?"

// ask sends one command to the runtime API and returns the answer.
func (o haproxyOptions) ask(ctx context.Context, cmd string) (string, error) {
	network := "tcp"
	if strings.HasPrefix(o.Socket, "/") || strings.HasPrefix(o.Socket, "@") {
		network = "unix"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, o.Socket)
	if err != nil {
		return "", retryable(fmt.Errorf("HAProxy: %w", err), haproxyHint)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, cmd+"\n"); err != nil {
		return "", retryable(fmt.Errorf("HAProxy: %q: %w", cmd, err), haproxyHint)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 8<<20))
	if err != nil {
		return "", retryable(fmt.Errorf("HAProxy: %q: %w", cmd, err), haproxyHint)
	}
	return strings.TrimSpace(string(answer)), nil
}

// state reads what HAProxy says of a server; a missing one is an error.
func (o haproxyOptions) state(ctx context.Context, server string) (serverState, error) {
	answer, err := o.ask(ctx, "show servers state "+o.Backend)
	if err != nil {
		return serverState{}, err
	}
	var columns []string
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		if names, ok := strings.CutPrefix(line, "# "); ok {
			columns = strings.Fields(names)
			continue
		}
		fields := strings.Fields(line)
		row := map[string]string{}
		for i := range min(len(fields), len(columns)) {
			row[columns[i]] = fields[i]
		}
		if row["srv_name"] != server || row["be_name"] != o.Backend {
			continue
		}
		op, err1 := strconv.Atoi(row["srv_op_state"])
		admin, err2 := strconv.Atoi(row["srv_admin_state"])
		if err1 != nil || err2 != nil {
			return serverState{}, fmt.Errorf("HAProxy: the state of %s cannot be read: %q", o.name(server), line)
		}
		return serverState{operational: op, admin: admin}, nil
	}
	return serverState{}, sdk.Failf("compare haproxy.backend and haproxy.server with haproxy.cfg",
		"HAProxy knows no server %s: it answered %.200q", o.name(server), answer)
}

// set brings a server to maint, drain or ready and makes sure that it got there: HAProxy's
// silence is no proof. It returns "" when nothing had to be done.
func (o haproxyOptions) set(ctx context.Context, server, want string) (string, error) {
	before, err := o.state(ctx, server)
	if err != nil {
		return "", err
	}
	if before.word() != want {
		answer, err := o.ask(ctx, fmt.Sprintf("set server %s state %s", o.name(server), want))
		if err != nil {
			return "", err
		}
		after, err := o.state(ctx, server)
		if err != nil {
			return "", err
		}
		if after.word() != want {
			return "", sdk.Failf("the stats socket needs `level admin`", "HAProxy did not set %s to %s: it is %s; it answered %q",
				o.name(server), want, after, answer)
		}
	}
	if want == "ready" {
		if err := o.awaitRunning(ctx, server); err != nil {
			return "", err
		}
	}
	if before.word() == want {
		return "", nil
	}
	return fmt.Sprintf("set %s from %s to %s", o.name(server), before, want), nil
}

// awaitRunning waits until HAProxy sends traffic to a server that is ready.
func (o haproxyOptions) awaitRunning(ctx context.Context, server string) error {
	deadline := time.Now().Add(o.readyTimeout())
	for {
		now, err := o.state(ctx, server)
		if err != nil || now.running() {
			return err
		}
		if time.Now().After(deadline) {
			return retryable(fmt.Errorf("HAProxy finds %s %s, %s after it was set ready", o.name(server), now, o.readyTimeout()),
				"its health check fails: see LastChk on HAProxy's statistics page, and the server itself")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// sessions is the number of sessions a server has now.
func (o haproxyOptions) sessions(ctx context.Context, server string) (int, error) {
	answer, err := o.ask(ctx, "show stat")
	if err != nil {
		return 0, err
	}
	var columns []string
	for line := range strings.Lines(answer) {
		fields := strings.Split(strings.TrimSpace(strings.TrimPrefix(line, "# ")), ",")
		if columns == nil {
			columns = fields
			continue
		}
		row := map[string]string{}
		for i := range min(len(fields), len(columns)) {
			row[columns[i]] = fields[i]
		}
		if row["pxname"] == o.Backend && row["svname"] == server {
			return strconv.Atoi(row["scur"])
		}
	}
	return 0, fmt.Errorf("HAProxy shows no statistics of %s", o.name(server))
}

// takeOut drains a server, if asked to, and sets it to maint.
func (o haproxyOptions) takeOut(ctx context.Context, req sdk.Request) ([]string, error) {
	var changes []string
	now, err := o.state(ctx, o.Server)
	if err != nil {
		return nil, err
	}
	if o.Drain > 0 && now.word() != "maint" {
		if err := o.drain(ctx, req); err != nil {
			return nil, err
		}
		changes = append(changes, "drained "+o.name(o.Server))
	}
	change, err := o.set(ctx, o.Server, "maint")
	if change != "" {
		changes = append(changes, change)
	}
	return changes, err
}

func (o haproxyOptions) drain(ctx context.Context, req sdk.Request) error {
	if _, err := o.set(ctx, o.Server, "drain"); err != nil {
		return err
	}
	deadline := time.Now().Add(time.Duration(o.Drain))
	for {
		n, err := o.sessions(ctx, o.Server)
		if err != nil || n == 0 || time.Now().After(deadline) {
			return err
		}
		req.Progress("%d sessions of %s are left", n, o.name(o.Server))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
