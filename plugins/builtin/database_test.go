package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/plugins/sdk"
)

// pool is a PostgreSQL with few connections and the users app, report and ops.
type pool struct {
	*testenv.PostgresServer
	t *testing.T
}

func newPool(t *testing.T) *pool {
	t.Helper()
	pg := testenv.Postgres(t, "max_connections = 12", "superuser_reserved_connections = 2")
	admin := pg.Connect(t)
	for _, q := range []string{
		"CREATE ROLE app LOGIN PASSWORD 'apppass'", "CREATE ROLE report LOGIN PASSWORD 'apppass'",
		"CREATE ROLE ops LOGIN PASSWORD 'opspass' IN ROLE pg_signal_backend, pg_read_all_stats",
		"CREATE TABLE t (id int); INSERT INTO t VALUES (1)", "GRANT ALL ON t TO app",
	} {
		_, err := admin.Exec(context.Background(), q)
		require.NoError(t, err)
	}
	require.NoError(t, admin.Close(context.Background()))
	t.Setenv("OPS_DSN", as(pg, "ops", "opspass"))
	t.Setenv("ADMIN_DSN", pg.DSN)
	return &pool{PostgresServer: pg, t: t}
}

// as is the DSN of another user.
func (p *pool) as(user, password string) string { return as(p.PostgresServer, user, password) }

func as(p *testenv.PostgresServer, user, password string) string {
	return strings.Replace(p.DSN, "postgres:"+p.Password, user+":"+password, 1)
}

// open opens a session with an application name and runs queries in it.
func (p *pool) open(dsn, app string, queries ...string) *pgx.Conn {
	p.t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(p.t, err)
	cfg.RuntimeParams["application_name"] = app
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, q := range queries {
		_, err := conn.Exec(context.Background(), q)
		require.NoError(p.t, err)
	}
	return conn
}

func alive(conn *pgx.Conn) bool {
	_, err := conn.Exec(context.Background(), "SELECT 1")
	return err == nil
}

func (p *pool) request(options map[string]any) sdk.Request {
	options["dsn"] = "env:OPS_DSN"
	return sdk.Request{Key: "k", Component: "db", Options: jsonOf(p.t, options), WorkDir: p.t.TempDir()}
}

func TestDatabaseFreesAnExhaustedPool(t *testing.T) {
	p, d := newPool(t), &Database{}
	var stuck []*pgx.Conn
	for i := range 8 {
		stuck = append(stuck, p.open(p.as("app", "apppass"), fmt.Sprint("web", i), "BEGIN", "SELECT * FROM t"))
	}
	protected := p.open(p.as("report", "apppass"), "nightly", "BEGIN")
	busy := p.open(p.as("app", "apppass"), "busy")
	superuser := p.open(p.DSN, "dba", "BEGIN")
	_, err := pgx.Connect(context.Background(), p.as("app", "apppass"))
	require.Error(t, err, "the pool is not exhausted")
	time.Sleep(60 * time.Millisecond) // idle for longer than idle_in_transaction

	options := map[string]any{"idle_in_transaction": "50ms", "protect": []string{"night*"}, "free": 5, "wait": "5s"}
	_, err = d.Recover(ctx(t), p.request(options))
	require.ErrorContains(t, err, "all connections are in use")
	var fail *sdk.Fail
	require.ErrorAs(t, err, &fail)
	require.Contains(t, fail.Hint, "admin_dsn")

	options["admin_dsn"] = "env:ADMIN_DSN"
	req := p.request(options)
	_, err = d.Validate(ctx(t), req)
	require.ErrorContains(t, err, "0 of 10 connections are free")
	plan := req
	plan.Plan = true
	planned, err := d.Recover(ctx(t), plan)
	require.NoError(t, err)
	require.Len(t, planned.Changes, 10) // the note, eight sessions and the wait
	require.Contains(t, planned.Changes[0], "reserved for superusers")
	require.Contains(t, planned.Changes[1], "of app (web0) on postgres from 127.0.0.1, idle in transaction for")
	for _, c := range stuck {
		require.True(t, alive(c), "a plan ended a session")
	}
	time.Sleep(60 * time.Millisecond)

	res, err := d.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Summary, "ended 8 stuck sessions; ")
	for _, c := range stuck {
		require.False(t, alive(c))
	}
	for name, c := range map[string]*pgx.Conn{"protected": protected, "busy": busy, "superuser": superuser} {
		require.True(t, alive(c), "the %s session was ended", name)
	}
	text, err := json.Marshal(res)
	require.NoError(t, err)
	require.NotContains(t, string(text), "opspass")
	require.NotContains(t, string(text), p.Password)
	_, err = d.Validate(ctx(t), req)
	require.NoError(t, err)
}

func TestDatabaseEndsSessionsThatBlockOthers(t *testing.T) {
	p, d := newPool(t), &Database{}
	blocker := p.open(p.as("app", "apppass"), "blocker", "BEGIN", "UPDATE t SET id = 2")
	waiter := p.open(p.as("app", "apppass"), "waiter")
	ended := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(context.Background(), "UPDATE t SET id = 3")
		ended <- err
	}()
	options := map[string]any{"idle_in_transaction": "0s", "blocking": "100ms", "free": 1}
	plan := p.request(options)
	plan.Plan = true
	require.Eventually(t, func() bool {
		res, err := d.Recover(ctx(t), plan)
		return err == nil && len(res.Changes) == 2 && strings.Contains(res.Changes[0], "(blocker)") && strings.Contains(res.Changes[0], "keeps 1 others waiting")
	}, 10*time.Second, 20*time.Millisecond)
	_, err := d.Recover(ctx(t), p.request(options))
	require.NoError(t, err)
	require.NoError(t, <-ended, "the waiting session was ended, not the blocker")
	require.False(t, alive(blocker))
}

func TestDatabaseSaysWhoUsesThePool(t *testing.T) {
	p, d := newPool(t), &Database{}
	for range 8 {
		p.open(p.as("app", "apppass"), "web")
	}
	p.open(p.DSN, "dba", "BEGIN")
	_, err := d.Recover(ctx(t), p.request(map[string]any{"idle_in_transaction": "0s", "free": 3, "wait": "150ms"}))
	require.ErrorContains(t, err, "1 of 10 connections are free after 150ms, and 3 must be free; in use: 8 app/web idle")
	require.ErrorContains(t, err, "1 sessions idle in transaction are protected or of superusers")
	time.Sleep(20 * time.Millisecond)
	res, err := d.Recover(ctx(t), p.request(map[string]any{"dsn": "x", "idle_in_transaction": "10ms", "superusers": true, "free": 2, "wait": "2s", "admin_dsn": "env:ADMIN_DSN"}))
	require.Error(t, err, "ops may not end a superuser's session: %v", res)
	var fail *sdk.Fail
	require.ErrorAs(t, err, &fail)
	require.Contains(t, fail.Hint, "only a superuser may end")
}

func TestDatabaseKeepsAListOfSessions(t *testing.T) {
	p, d := newPool(t), &Database{}
	p.open(p.as("app", "apppass"), "web", "BEGIN", "SELECT 'hush-secret'")
	req := p.request(map[string]any{})
	req.CheckpointDir = t.TempDir()
	_, err := d.Checkpoint(ctx(t), req)
	require.NoError(t, err)
	data, err := os.ReadFile(req.CheckpointDir + "/postgresql-sessions.json")
	require.NoError(t, err)
	require.Contains(t, string(data), `"application": "web"`)
	require.NotContains(t, string(data), "hush-secret")
}

func TestDatabaseErrorsHoldNoSecrets(t *testing.T) {
	for name, dsn := range map[string]string{
		"unreachable": "postgres://app:hush-hush@127.0.0.1:1/db",
		"malformed":   "postgres://app:hush-hush@[::1/db",
		"keywords":    "host=127.0.0.1 port=x password=hush-hush",
	} {
		t.Setenv("BAD_DSN", dsn)
		_, err := (&Database{}).Recover(ctx(t), sdk.Request{Options: jsonOf(t, map[string]any{"dsn": "env:BAD_DSN"})})
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "hush-hush", name)
	}
}
