package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/google/renameio/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/plugins/sdk"
)

// Database is the plugin "database": it frees a PostgreSQL server whose connections are used
// up, by ending sessions that are stuck, and waits until there are free ones again.
type Database struct{}

var (
	_ sdk.Plugin         = (*Database)(nil)
	_ sdk.Checkpointer   = (*Database)(nil)
	_ sdk.Validator      = (*Database)(nil)
	_ sdk.OptionsChecker = (*Database)(nil)
)

// appName marks our own sessions, which are never ended.
const appName = "shivx"

type databaseOptions struct {
	// DSN, best as a reference: env:NAME or file:PATH.
	DSN string `json:"dsn"`
	// AdminDSN of a superuser, for when DSN is refused because all connections are in use.
	AdminDSN string `json:"admin_dsn"`
	// IdleInTransaction: sessions idle in a transaction for longer are ended; default 30s, "0s": none.
	IdleInTransaction *sdk.Duration `json:"idle_in_transaction"`
	// Blocking: sessions that have kept others waiting for a lock for longer are ended; default: none.
	Blocking sdk.Duration `json:"blocking"`
	// Protect lists glob patterns of user and application names that are left alone.
	Protect []string `json:"protect"`
	// Superusers lets sessions of superusers be ended, too, when they are idle in a transaction.
	Superusers bool `json:"superusers"`
	// Free is how many connections must be free at the end; default 5.
	Free *int `json:"free"`
	// Wait is how long that may take; default 30s.
	Wait sdk.Duration `json:"wait"`
}

func (o databaseOptions) idle() time.Duration {
	if o.IdleInTransaction == nil {
		return 30 * time.Second
	}
	return time.Duration(*o.IdleInTransaction)
}

func (o databaseOptions) free() int {
	if o.Free == nil {
		return 5
	}
	return *o.Free
}

func (o databaseOptions) wait() time.Duration {
	if o.Wait == 0 {
		return 30 * time.Second
	}
	return time.Duration(o.Wait)
}

// Describe says what the plugin is.
func (*Database) Describe() sdk.Description {
	return sdk.Description{
		Name: "database", Version: version, RecoveryType: "database", Idempotent: true,
		Summary: "Ends stuck PostgreSQL sessions and waits until connections are free again",
	}
}

// CheckOptions checks the options of a strategy.
func (*Database) CheckOptions(options json.RawMessage) error {
	var o databaseOptions
	if err := sdk.Decode(options, &o); err != nil {
		return err
	}
	switch {
	case o.DSN == "":
		return sdk.BadOption("dsn", "for example env:PG_DSN, with postgres://user:password@host/db in that variable", "is missing")
	case o.idle() < 0 || o.Blocking < 0 || o.Wait < 0:
		return sdk.BadOption("idle_in_transaction", "", "a duration is negative")
	case o.free() < 0:
		return sdk.BadOption("free", "", "is negative")
	}
	for _, p := range o.Protect {
		if !doublestar.ValidatePattern(p) {
			return sdk.BadOption("protect", "", "%q is not a glob pattern", p)
		}
	}
	return nil
}

func (d *Database) open(req sdk.Request) (databaseOptions, error) {
	var o databaseOptions
	if err := d.CheckOptions(req.Options); err != nil {
		return o, err
	}
	return o, req.Decode(&o)
}

// Recover ends stuck sessions and waits for free connections.
func (d *Database) Recover(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := d.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	conn, note, err := o.connect(ctx)
	if err != nil {
		return sdk.Result{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	list, err := o.stuck(ctx, conn)
	if err != nil {
		return sdk.Result{}, err
	}
	if req.Plan {
		return o.plan(ctx, conn, list, note)
	}
	changes, err := o.end(ctx, conn, req, list)
	if note != "" {
		changes = append([]string{note}, changes...)
	}
	if err != nil {
		return sdk.Result{Changes: changes}, err
	}
	use, err := o.awaitFree(ctx, conn, req)
	changes = append(changes, use.String())
	return sdk.Result{Summary: fmt.Sprintf("ended %d stuck sessions; %s", countEnded(changes), use), Changes: changes}, err
}

func countEnded(changes []string) int {
	n := 0
	for _, c := range changes {
		if strings.HasPrefix(c, "ended ") {
			n++
		}
	}
	return n
}

func (o databaseOptions) plan(ctx context.Context, conn *pgx.Conn, list []session, note string) (sdk.Result, error) {
	use, err := readUsage(ctx, conn)
	if err != nil {
		return sdk.Result{}, err
	}
	var changes []string
	if note != "" {
		changes = append(changes, note)
	}
	for _, s := range list {
		changes = append(changes, "end "+s.String())
	}
	changes = append(changes, fmt.Sprintf("wait up to %s until %d connections are free; now %s", o.wait(), o.free(), use))
	return sdk.Result{Summary: fmt.Sprintf("would end %d sessions; %s", len(list), use), Changes: changes}, nil
}

// Validate says whether enough connections are free.
func (d *Database) Validate(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := d.open(req)
	if err != nil {
		return sdk.Result{}, err
	}
	conn, _, err := o.connect(ctx)
	if err != nil {
		return sdk.Result{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	use, err := readUsage(ctx, conn)
	if err == nil && use.free() < o.free() {
		err = retryable(fmt.Errorf("%s, and %d must be free", use, o.free()), "who uses them? select usename, application_name, count(*) from pg_stat_activity group by 1, 2")
	}
	return sdk.Result{Summary: use.String()}, err
}

// Checkpoint keeps a list of all sessions beside the state; without their queries, in which
// secrets may stand.
func (d *Database) Checkpoint(ctx context.Context, req sdk.Request) (sdk.Result, error) {
	o, err := d.open(req)
	if err != nil || req.CheckpointDir == "" {
		return sdk.Result{Summary: "nothing to keep"}, err
	}
	if req.Plan {
		return sdk.Result{Summary: "would keep a list of all sessions"}, nil
	}
	conn, _, err := o.connect(ctx)
	if err != nil {
		return sdk.Result{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	list, err := readSessions(ctx, conn)
	if err != nil {
		return sdk.Result{}, err
	}
	data, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return sdk.Result{}, err
	}
	path := filepath.Join(req.CheckpointDir, "postgresql-sessions.json")
	if err := renameio.WriteFile(path, data, 0o600); err != nil {
		return sdk.Result{}, fmt.Errorf("keep the list of sessions: %w", err)
	}
	return sdk.Result{Summary: fmt.Sprintf("kept a list of %d sessions", len(list)), Changes: []string{"wrote " + path}}, nil
}

// connect logs in. When all connections are in use it takes one of those reserved for
// superusers, and the note says so.
func (o databaseOptions) connect(ctx context.Context) (*pgx.Conn, string, error) {
	conn, err := login(ctx, o.DSN)
	note := ""
	if refused, full := tooMany(err); full {
		if o.AdminDSN == "" {
			return nil, "", sdk.Failf("set admin_dsn to a superuser's: PostgreSQL reserves connections for those (superuser_reserved_connections)",
				"PostgreSQL refuses the login, as all connections are in use: %s", refused.Message)
		}
		note = "note: all normal connections were in use; took one that is reserved for superusers"
		conn, err = loginReserved(ctx, o.AdminDSN)
	}
	if err != nil {
		return nil, "", retryable(fmt.Errorf("connect to PostgreSQL: %w", err), "is the server running, and is the DSN right?")
	}
	if note == "" {
		if use, err := readUsage(ctx, conn); err == nil && use.free() < 0 {
			note = "note: all normal connections are in use; this login took one that is reserved for superusers"
		}
	}
	return conn, note, nil
}

// tooMany says whether the server refused a login because all connections are in use.
func tooMany(err error) (*pgconn.PgError, bool) {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return refused, ok && refused.Code == "53300"
}

// reservedPatience is how long to wait for a reserved connection: one that was closed a moment ago
// is in use until its server process has ended.
const reservedPatience = 2 * time.Second

// loginReserved takes one of the connections reserved for superusers.
func loginReserved(ctx context.Context, ref string) (*pgx.Conn, error) {
	late := time.Now().Add(reservedPatience)
	for {
		conn, err := login(ctx, ref)
		if _, full := tooMany(err); !full || time.Now().After(late) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// login keeps the DSN, which may hold a password, out of errors.
func login(ctx context.Context, ref string) (*pgx.Conn, error) {
	dsn, err := config.Resolve(ref)
	if err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, sdk.Failf("write it as postgres://user:password@host:port/db or host=… user=…", "the DSN cannot be read")
	}
	cfg.RuntimeParams["application_name"] = appName
	// A poolers' or a crowded server's login must not take the whole step.
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil && cfg.Password != "" && strings.Contains(err.Error(), cfg.Password) {
		return nil, errors.New("the login failed")
	}
	return conn, err
}
