package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/renameio/v2"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/resp"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// postgresBook keeps orders in PostgreSQL.
type postgresBook struct {
	*testenv.PostgresServer
	conn *pgx.Conn
}

func (b *postgresBook) fill(t *testing.T, orders []order) {
	t.Helper()
	b.conn = b.session(t)
	_, err := b.conn.Exec(t.Context(), `
CREATE TABLE orders (n int PRIMARY KEY, source int, target int, amount int, text text);
CREATE INDEX ON orders (text);
CREATE TABLE balances (account int PRIMARY KEY, amount int NOT NULL)`)
	require.NoError(t, err)
	rows := pgx.CopyFromSlice(len(orders), func(i int) ([]any, error) {
		o := orders[i]
		return []any{o.N, o.Source, o.Target, o.Amount, o.Text}, nil
	})
	_, err = b.conn.CopyFrom(t.Context(), pgx.Identifier{"orders"}, []string{"n", "source", "target", "amount", "text"}, rows)
	require.NoError(t, err)
	for account, amount := range balancesOf(orders) {
		_, err := b.conn.Exec(t.Context(), "INSERT INTO balances VALUES ($1, $2)", account, amount)
		require.NoError(t, err)
	}
}

// session waits until the server answers; it lives as long as the server.
func (b *postgresBook) session(t *testing.T) *pgx.Conn {
	t.Helper()
	var conn *pgx.Conn
	stand.Await(t, patience, "PostgreSQL to answer", func(ctx context.Context) (ok bool) {
		var err error
		conn, err = pgx.Connect(ctx, b.DSN)
		return err == nil
	})
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (b *postgresBook) write(o order) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := b.conn.Exec(ctx, `
WITH new AS (INSERT INTO orders VALUES ($1, $2, $3, $4, $5)), gave AS (UPDATE balances SET amount = amount - $4 WHERE account = $2)
UPDATE balances SET amount = amount + $4 WHERE account = $3`, o.N, o.Source, o.Target, o.Amount, o.Text)
	return err
}

func (b *postgresBook) read(t *testing.T) ([]order, []int) {
	t.Helper()
	b.conn = b.session(t) // those from before a restore have ended
	rows, err := b.conn.Query(t.Context(), "SELECT * FROM orders ORDER BY n")
	require.NoError(t, err)
	orders, err := pgx.CollectRows(rows, pgx.RowToStructByPos[order])
	require.NoError(t, err)
	rows, err = b.conn.Query(t.Context(), "SELECT amount FROM balances ORDER BY account")
	require.NoError(t, err)
	balances, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	return orders, balances
}

// redisBook keeps orders in Redis.
type redisBook struct{ *testenv.RedisServer }

// keepOrder keeps orders, given as JSON, in one step.
const keepOrder = `for _, text in ipairs(ARGV) do
  local o = cjson.decode(text)
  redis.call('HSET', 'orders', o.N, text)
  redis.call('HINCRBY', 'balances', o.Source, -o.Amount)
  redis.call('HINCRBY', 'balances', o.Target, o.Amount)
end
return #ARGV`

func (b *redisBook) keep(orders ...order) error {
	conn, err := net.DialTimeout("tcp", b.Addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	args := []string{"EVAL", keepOrder, "0"}
	for _, o := range orders {
		text, err := json.Marshal(o)
		if err != nil {
			return err
		}
		args = append(args, string(text))
	}
	answer, err := resp.New(conn).Call(args...)
	if err == nil && answer != strconv.Itoa(len(orders)) {
		err = fmt.Errorf("Redis says %s", answer)
	}
	return err
}

func (b *redisBook) fill(t *testing.T, orders []order) {
	t.Helper()
	for some := range slices.Chunk(orders, 500) {
		require.NoError(t, b.keep(some...))
	}
}

func (b *redisBook) write(o order) error { return b.keep(o) }

func (b *redisBook) read(t *testing.T) ([]order, []int) {
	t.Helper()
	var all map[string]string
	hash := func(key string) {
		all = nil
		text := b.Do(t, "EVAL", "local all = {}; local l = redis.call('HGETALL', KEYS[1]); for i = 1, #l, 2 do all[l[i]] = l[i+1] end; return cjson.encode(all)", "1", key)
		require.NoError(t, json.Unmarshal([]byte(text), &all), text)
	}
	hash("orders")
	orders := make([]order, 0, len(all))
	for _, text := range all {
		var o order
		require.NoError(t, json.Unmarshal([]byte(text), &o))
		orders = append(orders, o)
	}
	slices.SortFunc(orders, func(a, b order) int { return a.N - b.N })
	hash("balances")
	balances := make([]int, accounts)
	for account, amount := range all {
		a, err := strconv.Atoi(account)
		require.NoError(t, err)
		balances[a], err = strconv.Atoi(amount)
		require.NoError(t, err)
	}
	return orders, balances
}

// webBook keeps each order as a page that nginx serves.
type webBook struct {
	*testenv.NginxServer
	http http.Client
}

func (b *webBook) page(n int) string { return filepath.Join(b.Root, "orders", fmt.Sprint(n)+".json") }

func (b *webBook) fill(t *testing.T, orders []order) {
	t.Helper()
	require.NoError(t, os.Mkdir(filepath.Join(b.Root, "orders"), 0o755))
	for _, o := range orders {
		require.NoError(t, b.write(o))
	}
}

func (b *webBook) write(o order) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return renameio.WriteFile(b.page(o.N), text, 0o644)
}

// read asks nginx for every page; nobody has an account there.
func (b *webBook) read(t *testing.T) ([]order, []int) {
	t.Helper()
	list, err := os.ReadDir(filepath.Dir(b.page(1)))
	require.NoError(t, err)
	var orders []order
	for n := range len(list) {
		var o order
		require.NoError(t, askJSON(&b.http, http.MethodGet, fmt.Sprintf("http://%s/orders/%d.json", b.Addr, n+1), nil, &o))
		orders = append(orders, o)
	}
	return orders, balancesOf(orders)
}
