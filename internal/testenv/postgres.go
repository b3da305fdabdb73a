package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// PostgresServer is a real PostgreSQL.
type PostgresServer struct {
	*Server
	// Data is its data folder.
	Data string
	// DSN of the superuser; it holds Password.
	DSN      string
	Password string
}

// Postgres makes a new cluster and starts it; further lines of configuration may be added. As
// root it runs as the user postgres, as PostgreSQL does not run as root.
func Postgres(t testing.TB, conf ...string) *PostgresServer {
	t.Helper()
	paths := Need(t, "initdb", "postgres")
	as := asPostgres(t)
	dir := sharedDir(t, as.uid, as.gid)
	addr := Addr(t)
	p := &PostgresServer{
		Data: filepath.Join(dir, "data"), Password: "correct-horse-battery",
		Server: &Server{Dir: dir, Addr: addr, quit: syscall.SIGINT},
	}
	p.PIDFile = filepath.Join(p.Data, "postmaster.pid")
	p.DSN = fmt.Sprintf("postgres://postgres:%s@%s/postgres?sslmode=disable", p.Password, addr)
	p.Argv = slices.Concat(as.argv, []string{paths[1], "-D", p.Data})
	p.ready = p.ping
	p.initdb(t, slices.Concat(as.argv, paths[:1]))
	lines := append([]string{
		"listen_addresses = '127.0.0.1'", "port = " + Port(t, addr), "unix_socket_directories = ''",
		"fsync = off", "shared_buffers = '16MB'",
	}, conf...)
	p.configure(t, lines)
	t.Cleanup(func() { p.close(t) })
	p.Start(t)
	return p
}

func (p *PostgresServer) initdb(t testing.TB, argv []string) {
	t.Helper()
	secret := filepath.Join(p.Dir, "password")
	WriteFile(t, secret, p.Password+"\n")
	argv = append(argv, "-D", p.Data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile="+secret,
		"--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = p.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
}

func (p *PostgresServer) configure(t testing.TB, lines []string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(p.Data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func (p *PostgresServer) ping(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.DSN)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// Connect opens a session that ends with the test.
func (p *PostgresServer) Connect(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), p.DSN)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// account is the user that PostgreSQL runs as and the words that make it so.
type account struct {
	argv     []string
	uid, gid int
}

func asPostgres(t testing.TB) account {
	t.Helper()
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}
	}
	setpriv := Need(t, "setpriv")[0]
	u, err := user.Lookup("postgres")
	if err != nil {
		Missing(t, "needs the user postgres (apt-get install postgresql)")
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	argv := []string{setpriv, "--reuid=" + u.Uid, "--regid=" + u.Gid, "--clear-groups", "--"}
	return account{argv: argv, uid: uid, gid: gid}
}

// sharedDir is a temporary folder that another user can reach and owns.
func sharedDir(t testing.TB, uid, gid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "shivx-test-") //nolint:usetesting // t.TempDir's parents are closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir
}
