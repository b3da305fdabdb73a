package health

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

func TestPostgreSQLCheckOnARealServer(t *testing.T) {
	p := testenv.Postgres(t, "max_connections = 6", "superuser_reserved_connections = 1")
	t.Setenv("SHIVX_TEST_DSN", p.DSN)
	conn := p.Connect(t)
	if _, err := conn.Exec(t.Context(), "CREATE ROLE app LOGIN PASSWORD 'hunter2'"); err != nil {
		t.Fatal(err)
	}
	app := strings.Replace(p.DSN, "postgres:"+p.Password, "app:hunter2", 1)
	ask := func(dsn, query string) string {
		t.Helper()
		got := check(t, config.Check{Timeout: time.Second, PostgreSQL: &config.PostgreSQLCheck{DSN: dsn, Query: query}})
		if strings.Contains(got, p.Password) || strings.Contains(got, "hunter") {
			t.Errorf("the reason tells a password: %s", got)
		}
		return got
	}
	expect(t, "reference", ask("env:SHIVX_TEST_DSN", ""), "")
	expect(t, "query", ask(p.DSN, "SELECT count(*) FROM pg_stat_activity"), "")
	expect(t, "bad query", ask(p.DSN, "SELECT * FROM absent"), "query on "+p.Addr+`: ERROR: relation "absent" does not exist (SQLSTATE 42P01)`)
	expect(t, "fails after its first rows", ask(p.DSN, "SELECT 1/(3-g) FROM generate_series(1,5) g"), "query on "+p.Addr+": ERROR: division by zero (SQLSTATE 22012)")
	expect(t, "slow query", ask(p.DSN, "SELECT pg_sleep(60)"), "query on "+p.Addr+": no answer within 1s")
	expect(t, "wrong password", ask(strings.Replace(app, "hunter2", "hunter3", 1), ""), "connect to "+p.Addr+`: FATAL: password authentication failed for user "app" (SQLSTATE 28P01)`)
	expect(t, "absent variable", ask("env:SHIVX_TEST_ABSENT", ""), "dsn: resolve env:SHIVX_TEST_ABSENT*")
	expect(t, "unreadable", ask("postgres://app:hunter2@[::1/db", ""), "the DSN cannot be read")

	var idle []*pgx.Conn
	for len(idle) < 10 { // an application that gives nothing back
		c, err := pgx.Connect(t.Context(), app)
		if err != nil {
			break
		}
		idle = append(idle, c)
	}
	expect(t, "exhausted", ask(app, ""), "connect to "+p.Addr+": FATAL: *(SQLSTATE 53300)")
	for _, c := range idle {
		_ = c.Close(context.Background())
	}
	await(t, "free connections", func() bool { return ask(app, "") == "" })
	p.Kill(t)
	expect(t, "killed", ask(p.DSN, ""), "connect to "+p.Addr+": connect: connection refused")
}

// TestPostgreSQLCheckGivesItsSessionBack: a check that leaks sessions is what it is to find.
func TestPostgreSQLCheckGivesItsSessionBack(t *testing.T) {
	p := testenv.Postgres(t)
	conn := p.Connect(t)
	for range 20 {
		expect(t, "healthy", check(t, config.Check{PostgreSQL: &config.PostgreSQLCheck{DSN: p.DSN}}), "")
	}
	await(t, "the end of the checks' sessions", func() bool {
		var n int
		err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shivx-health'").Scan(&n)
		return err == nil && n == 0
	})
}
