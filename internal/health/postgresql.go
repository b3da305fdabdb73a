package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// postgresProbe connects, asks its query and closes, so that a server without free connections
// is found. The DSN is resolved at each check, so that a changed secret is used at once.
type postgresProbe struct{ c config.PostgreSQLCheck }

func newPostgreSQLProbe(c config.PostgreSQLCheck) (Probe, error) {
	if c.DSN == "" {
		return nil, shivx.Hint(errors.New("the dsn is empty"), "write dsn: env:NAME or file:PATH, holding postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	if c.Query == "" {
		c.Query = "SELECT 1"
	}
	return &postgresProbe{c}, nil
}

func (p *postgresProbe) Check(ctx context.Context) error {
	dsn, err := config.Resolve(p.c.DSN)
	if err != nil {
		return fmt.Errorf("dsn: %w", err)
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil { // the parser's error quotes the DSN
		return shivx.Hint(errors.New("the DSN cannot be read"), "write postgres://USER:PASSWORD@HOST:PORT/DATABASE or key=value pairs")
	}
	where := net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	// Poolers in transaction mode do not keep prepared statements.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "shivx-health"
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", where, postgresCause(ctx, err))
	}
	defer closePostgres(conn) //nolint:contextcheck // the goodbye has its own short time, also when ctx has ended
	if err := ask(ctx, conn, p.c.Query); err != nil {
		return fmt.Errorf("query on %s: %w", where, postgresCause(ctx, err))
	}
	return nil
}

func ask(ctx context.Context, conn *pgx.Conn, query string) error {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

// closePostgres says goodbye so that the server frees the session at once.
func closePostgres(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx)
}

// postgresCause returns the cause without the connection parameters that pgx puts before it.
func postgresCause(ctx context.Context, err error) error {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("%s: %s (SQLSTATE %s)", server.Severity, server.Message, server.Code)
	}
	var network *net.OpError
	if ctx.Err() != nil || errors.As(err, &network) {
		return plain(ctx, err)
	}
	s := err.Error()
	if i := strings.LastIndex(s, "`: "); i >= 0 {
		s = s[i+len("`: "):]
	}
	return errors.New(s)
}
