package builtin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/jackc/pgx/v5"

	"github.com/shivx/shivx/plugins/sdk"
)

// session is one client of the server. Its query is not read: secrets may stand in it.
type session struct {
	PID         int           `json:"pid"`
	User        string        `json:"user"`
	Superuser   bool          `json:"superuser"`
	Application string        `json:"application"`
	Database    string        `json:"database"`
	Client      string        `json:"client"`
	State       string        `json:"state"`
	InState     time.Duration `json:"in_state_ns"`
	// Waiters are sessions that wait for a lock this one holds, Waited the longest such wait.
	Waiters int           `json:"waiters"`
	Waited  time.Duration `json:"waited_ns"`
	// Blocked says that the session waits for another one itself.
	Blocked bool `json:"blocked"`

	started, changed time.Time
	reason           string
}

// String describes the session for people.
func (s session) String() string {
	text := fmt.Sprintf("session %d of %s", s.PID, s.User)
	if s.Application != "" {
		text += " (" + s.Application + ")"
	}
	text += fmt.Sprintf(" on %s from %s", s.Database, s.Client)
	if s.reason != "" {
		text += ", " + s.reason
	}
	return text
}

// querySessions lists client sessions, with the locks others wait for. Workers of the server
// itself, such as autovacuum and replication, are no client backends.
const querySessions = `
WITH waits AS (
  SELECT unnest(pg_blocking_pids(w.pid)) AS blocker,
         w.pid AS waiter, extract(epoch FROM clock_timestamp() - min(w.waitstart)) AS waited
  FROM pg_locks w WHERE NOT w.granted GROUP BY w.pid
)
SELECT a.pid, coalesce(a.usename, ''), coalesce(r.rolsuper OR r.rolreplication, true), coalesce(a.application_name, ''),
       coalesce(a.datname, ''), coalesce(host(a.client_addr), 'a local socket'), coalesce(a.state, ''),
       greatest(0, extract(epoch FROM clock_timestamp() - a.state_change))::float8,
       (SELECT count(DISTINCT waiter) FROM waits WHERE blocker = a.pid)::int,
       coalesce((SELECT max(waited) FROM waits WHERE blocker = a.pid), 0)::float8,
       EXISTS (SELECT 1 FROM waits WHERE waiter = a.pid),
       a.backend_start, coalesce(a.state_change, a.backend_start)
FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
ORDER BY a.pid`

func readSessions(ctx context.Context, conn *pgx.Conn) ([]session, error) {
	rows, err := conn.Query(ctx, querySessions)
	if err != nil {
		return nil, retryable(fmt.Errorf("list sessions: %w", err), "give the user the role pg_read_all_stats")
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (session, error) {
		var s session
		var inState, waited float64
		err := row.Scan(&s.PID, &s.User, &s.Superuser, &s.Application, &s.Database, &s.Client, &s.State,
			&inState, &s.Waiters, &waited, &s.Blocked, &s.started, &s.changed)
		s.InState, s.Waited = seconds(inState), seconds(waited)
		return s, err
	})
	if err != nil {
		return nil, retryable(fmt.Errorf("list sessions: %w", err), "give the user the role pg_read_all_stats")
	}
	return list, nil
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// stuck returns the sessions to end, those that have been stuck longest first.
func (o databaseOptions) stuck(ctx context.Context, conn *pgx.Conn) ([]session, error) {
	all, err := readSessions(ctx, conn)
	if err != nil {
		return nil, err
	}
	var list []session
	for _, s := range all {
		if s.reason = o.reason(s); s.reason != "" {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b session) int { return int(b.InState - a.InState) })
	return list, nil
}

// reason says why a session is to be ended, "" when it is not.
func (o databaseOptions) reason(s session) string {
	if s.Application == appName || o.protects(s) {
		return ""
	}
	idle := strings.HasPrefix(s.State, "idle in transaction")
	if s.Superuser && (!o.Superusers || !idle) {
		return ""
	}
	switch {
	case idle && o.idle() > 0 && s.InState > o.idle():
		return "idle in transaction for " + s.InState.Round(time.Millisecond).String()
	case o.Blocking > 0 && s.Waiters > 0 && !s.Blocked && s.Waited > time.Duration(o.Blocking):
		return fmt.Sprintf("which keeps %d others waiting, for %s now", s.Waiters, s.Waited.Round(time.Millisecond))
	}
	return ""
}

func (o databaseOptions) protects(s session) bool {
	for _, p := range o.Protect {
		for _, name := range []string{s.User, s.Application} {
			if ok, _ := doublestar.Match(p, name); ok && name != "" {
				return true
			}
		}
	}
	return false
}

// queryEnd ends a session only if it is still the same one, in the same state: one that has
// gone on with its work meanwhile is left alone.
const queryEnd = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = $1 AND backend_start = $2 AND (state_change = $3 OR $4)`

// end ends the sessions one by one and waits until they are gone.
func (o databaseOptions) end(ctx context.Context, conn *pgx.Conn, req sdk.Request, list []session) ([]string, error) {
	var changes []string
	for _, s := range list {
		var ended bool
		err := conn.QueryRow(ctx, queryEnd, s.PID, s.started, s.changed, s.Waiters > 0).Scan(&ended)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			changes = append(changes, "left alone "+s.String()+": it went on by itself")
		case err != nil:
			return changes, failed(fmt.Errorf("end %s: %w", s, err), "give the user the role pg_signal_backend; only a superuser may end sessions of superusers")
		case ended:
			req.Progress("ended %s", s)
			changes = append(changes, "ended "+s.String())
		}
	}
	return changes, awaitGone(ctx, conn, list)
}

func awaitGone(ctx context.Context, conn *pgx.Conn, list []session) error {
	pids := make([]int32, len(list))
	for i, s := range list {
		pids[i] = int32(s.PID)
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		var left int
		err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1) AND state LIKE 'idle in transaction%'`, pids).Scan(&left)
		if err != nil || left == 0 || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// usage is how the server's connections are used.
type usage struct{ max, reserved, used int }

// free is below 0 when reserved connections are in use.
func (u usage) free() int { return u.max - u.reserved - u.used }

// String describes the usage for people.
func (u usage) String() string {
	return fmt.Sprintf("%d of %d connections are free", max(0, u.free()), u.max-u.reserved)
}

// readUsage does not count this session, which ends with the step.
func readUsage(ctx context.Context, conn *pgx.Conn) (usage, error) {
	var u usage
	err := conn.QueryRow(ctx, `SELECT current_setting('max_connections')::int,
  current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true), '0')::int,
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())::int`).
		Scan(&u.max, &u.reserved, &u.used)
	if err != nil {
		return u, retryable(fmt.Errorf("count connections: %w", err), "is the server running?")
	}
	return u, nil
}

// awaitFree waits until enough connections are free.
func (o databaseOptions) awaitFree(ctx context.Context, conn *pgx.Conn, req sdk.Request) (usage, error) {
	deadline := time.Now().Add(o.wait())
	for {
		use, err := readUsage(ctx, conn)
		if err != nil || use.free() >= o.free() {
			return use, err
		}
		if time.Now().After(deadline) {
			return use, retryable(fmt.Errorf("%s after %s, and %d must be free; %s", use, o.wait(), o.free(), o.crowd(ctx, conn)),
				"lower idle_in_transaction, set blocking or superusers, or raise max_connections")
		}
		req.Progress("%s, waiting for %d", use, o.free())
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return use, err
		}
	}
}

// crowd says who uses the connections.
func (o databaseOptions) crowd(ctx context.Context, conn *pgx.Conn) string {
	all, err := readSessions(ctx, conn)
	if err != nil {
		return err.Error()
	}
	counts, spared := map[string]int{}, 0
	for _, s := range all {
		counts[s.User+"/"+s.Application+" "+s.State]++
		if (s.Superuser && !o.Superusers || o.protects(s)) && strings.HasPrefix(s.State, "idle in transaction") {
			spared++
		}
	}
	var groups []string
	for name := range counts {
		groups = append(groups, name)
	}
	slices.SortFunc(groups, func(a, b string) int {
		if n := counts[b] - counts[a]; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	for i, name := range groups {
		groups[i] = fmt.Sprintf("%d %s", counts[name], name)
	}
	text := "in use: " + strings.Join(groups[:min(len(groups), 5)], ", ")
	if spared > 0 {
		text += fmt.Sprintf("; %d sessions idle in transaction are protected or of superusers and were left alone", spared)
	}
	return text
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
