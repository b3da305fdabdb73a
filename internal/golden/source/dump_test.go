package source

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
)

func connectTo(t *testing.T, server *testenv.PostgresServer, db string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), strings.Replace(server.DSN, "/postgres?", "/"+db+"?", 1))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func TestDumpUnderWrites(t *testing.T) {
	testenv.Need(t, "pg_dump", "pg_restore", "psql")
	server := testenv.Postgres(t)
	sql(t, server.Connect(t), `CREATE DATABASE "shop'%20"`)
	sql(t, server.Connect(t), "CREATE DATABASE other")
	shop, other := connectTo(t, server, "shop'%2520"), connectTo(t, server, "other")
	sql(t, other, "CREATE TABLE t AS SELECT 1 x")
	sql(t, shop, "CREATE ROLE reader; CREATE SCHEMA side; CREATE VIEW side.v AS SELECT 1 x; GRANT ALL ON SCHEMA public TO reader; SELECT lo_from_bytea(7, 'old')")
	bank := newPostgresBank(t, shop, 1000)
	// Neither folder is open to the user.
	o := DumpOptions{Path: filepath.Join(t.TempDir(), "dumps"), DSN: server.DSN, Databases: []string{"shop'%20", "other"}}
	if os.Geteuid() == 0 {
		o.User = "postgres"
	}
	s, err := NewDump("shop", o)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "exports")
	theirs := filepath.Join(filepath.Dir(o.Path), exportPrefix+"of-somebody", "file")
	require.NoError(t, os.MkdirAll(filepath.Dir(theirs), 0o755))
	require.NoError(t, os.WriteFile(theirs, nil, 0o600))
	var e *Export
	var acked int64
	whileWriting(t, bank.run, &bank.acked, func() {
		acked = bank.acked.Load()
		e, err = s.Prepare(t.Context(), dir)
		require.NoError(t, err)
		require.Greater(t, bank.acked.Load(), acked)
	})
	var logged int64
	require.NoError(t, shop.QueryRow(t.Context(), "SELECT count(*) FROM log").Scan(&logged))
	sql(t, shop, `UPDATE account SET money = 0; CREATE TABLE side.later AS SELECT 1 x; CREATE VIEW w AS SELECT * FROM fill;
DROP VIEW side.v; SELECT lo_from_bytea(8, 'new'); SELECT lo_put(7, 0, 'new'); REVOKE ALL ON SCHEMA public FROM reader`)
	sql(t, other, "DROP TABLE t")
	putBack(t, e)
	require.NoError(t, s.Verify(t.Context(), o.Path))
	require.NoError(t, e.Close(t.Context()))
	requireNothing(t, dir)
	require.NoError(t, s.After(t.Context()))
	requirePostgres(t, shop, acked, 1000)
	var got string
	require.NoError(t, shop.QueryRow(t.Context(), `SELECT concat_ws(' ', (SELECT count(*) FROM side.v), to_regclass('side.later'), to_regclass('w'),
 convert_from(lo_get(7), 'UTF8'), (SELECT count(*) FROM pg_largeobject_metadata), has_schema_privilege('reader', 'public', 'CREATE'))`).Scan(&got))
	require.Equal(t, "1 old 1 t", got)
	require.NoError(t, other.QueryRow(t.Context(), "SELECT x::text FROM t").Scan(&got))
	list, err := os.ReadDir(filepath.Dir(o.Path))
	require.NoError(t, err)
	require.Len(t, list, 2, "scripts were left")
	require.FileExists(t, theirs, "what lies beside the dumps is not ours")
}

func TestDumpFailsWhole(t *testing.T) {
	testenv.Need(t, "pg_dump", "pg_restore", "psql")
	server := testenv.Postgres(t)
	c := server.Connect(t)
	sql(t, c, "CREATE TABLE t AS SELECT i FROM generate_series(1, 10000) i")
	o := DumpOptions{Path: filepath.Join(t.TempDir(), "dumps"), DSN: server.DSN}
	s, err := NewDump("shop", o)
	require.NoError(t, err)
	dir := t.TempDir()
	e, err := s.Prepare(t.Context(), dir)
	require.NoError(t, err)
	putBack(t, e)
	require.NoError(t, e.Close(t.Context()))
	sql(t, c, "DELETE FROM t; CREATE TABLE mine AS SELECT 1 x")
	unchanged := func() {
		t.Helper()
		var n int
		require.NoError(t, c.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM t) * 10 + (SELECT count(*) FROM mine)").Scan(&n))
		require.Equal(t, 1, n)
		list, err := os.ReadDir(filepath.Dir(o.Path))
		require.NoError(t, err)
		require.Len(t, list, 1)
	}
	// Somebody keeps the table: the whole load gives up.
	holder := server.Connect(t)
	sql(t, holder, "BEGIN; SELECT * FROM mine")
	s.o.Limit = 2 * time.Second
	err = s.After(t.Context())
	require.ErrorIs(t, err, errLimit)
	require.NotEmpty(t, shivx.HintOf(err))
	sql(t, holder, "COMMIT")
	unchanged()
	path := filepath.Join(o.Path, dumpName(""))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, n := range []int{0, 3, 1000, len(data) / 2, len(data) - 1} {
		require.NoError(t, os.WriteFile(path, data[:n], 0o600))
		require.Error(t, s.Verify(t.Context(), o.Path), n)
		require.Error(t, s.After(t.Context()), n)
		unchanged()
	}
	s.o.DSN = "postgres://postgres:hush-hush@" + server.Addr + "/postgres"
	require.NoError(t, os.WriteFile(path, data, 0o600))
	err = s.After(t.Context())
	require.ErrorContains(t, err, "password authentication failed")
	require.NotContains(t, err.Error(), "hush-hush")
	_, err = s.Prepare(t.Context(), dir)
	require.ErrorContains(t, err, "password authentication failed")
	require.NotEmpty(t, shivx.HintOf(err))
	requireNothing(t, dir)
	unchanged()
}
