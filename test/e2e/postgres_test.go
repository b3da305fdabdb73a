package e2e_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// postgresqlPoolExhausted: sessions idle in a transaction use up all connections. Those are ended,
// and only those: one that works and one that is protected live on.
func postgresqlPoolExhausted(t *testing.T, server *stand.Server) {
	p := testenv.Postgres(t, "max_connections = 10", "superuser_reserved_connections = 3")
	app := appUser(t, p)
	s := play(t, server, "postgresql-pool", fill(`
  - name: postgresql
    checks:
      - postgresql: {dsn: <app>}
    ladder:
      - name: free-the-pool
        use: database
        with:
          dsn: <app>
          admin_dsn: <admin>
          idle_in_transaction: 100ms
          protect: ["payroll-*"]
          free: 3
          wait: 10s
`+quick, "app", secret(t, app), "admin", secret(t, p.DSN)))

	working := session(t, app, "worker")
	result := make(chan error, 1)
	go func() {
		var n int
		// Longer than the heal takes; ended by the test as soon as that is over.
		err := working.QueryRow(context.Background(), "SELECT 7 FROM pg_sleep_until_told()").Scan(&n)
		if err == nil && n != 7 {
			err = fmt.Errorf("the query answered %d", n)
		}
		result <- err
	}()
	protected := session(t, app, "payroll-march")
	begin(t, protected)
	stuck := exhaust(t, app)
	exhausted := time.Now()

	rec := s.healed("postgresql", 1, exhausted, "free-the-pool", shivx.RecoverDatabase)
	require.Regexp(t, "too many clients|remaining connection slots are reserved", s.event(shivx.EventFault, "postgresql").Message)
	require.NotContains(t, fmt.Sprint(rec), p.Password, "a secret stands in the ledger")
	for i, conn := range stuck {
		_, err := conn.Exec(t.Context(), "SELECT 1")
		require.Error(t, err, "stuck session %d lives", i)
	}
	_, err := protected.Exec(t.Context(), "COMMIT")
	require.NoError(t, err, "the protected session was ended")
	tell(t, p)
	require.NoError(t, <-result, "the session that worked was ended")
	begin(t, session(t, app, "a new login"))
}

// appUser makes the application's own login and the function that keeps a session at work until
// the test has written a row.
func appUser(t *testing.T, p *testenv.PostgresServer) string {
	t.Helper()
	admin := p.Connect(t)
	_, err := admin.Exec(t.Context(), `
CREATE ROLE app LOGIN PASSWORD 'app-secret' IN ROLE pg_read_all_stats, pg_signal_backend;
CREATE TABLE told (yes bool);
CREATE FUNCTION pg_sleep_until_told() RETURNS SETOF int LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
  WHILE NOT EXISTS (SELECT 1 FROM told) LOOP PERFORM pg_sleep(0.05); END LOOP;
  RETURN NEXT 1;
END $$`)
	require.NoError(t, err)
	require.NoError(t, admin.Close(t.Context()))
	return fmt.Sprintf("postgres://app:app-secret@%s/postgres?sslmode=disable", p.Addr)
}

func tell(t *testing.T, p *testenv.PostgresServer) {
	t.Helper()
	_, err := p.Connect(t).Exec(t.Context(), "INSERT INTO told VALUES (true)")
	require.NoError(t, err)
}

// secret writes a DSN to a file and returns the reference to it.
func secret(t *testing.T, dsn string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dsn")
	require.NoError(t, os.WriteFile(path, []byte(dsn+"\n"), 0o600))
	return "file:" + path
}

func session(t *testing.T, dsn, name string) *pgx.Conn {
	t.Helper()
	var conn *pgx.Conn
	// A health check may hold the last free connection for a moment.
	stand.Await(t, 10*time.Second, "a connection for "+name, func(ctx context.Context) bool {
		var err error
		conn, err = pgx.Connect(ctx, dsn+"&application_name="+url.QueryEscape(name))
		return err == nil
	})
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func begin(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	_, err := conn.Exec(t.Context(), "BEGIN; SELECT count(*) FROM pg_class")
	require.NoError(t, err)
}

// exhaust leaves the remaining connections idle in a transaction.
func exhaust(t *testing.T, dsn string) []*pgx.Conn {
	t.Helper()
	var stuck []*pgx.Conn
	for range 5 {
		conn := session(t, dsn, "leaky")
		begin(t, conn)
		stuck = append(stuck, conn)
	}
	return stuck
}

// event returns the first record of a kind.
func (s *scene) event(event, component string) shivx.RecoveryRecord {
	s.t.Helper()
	all := s.events(event, component)
	require.NotEmpty(s.t, all, "no %s of %s", event, component)
	return all[0]
}
