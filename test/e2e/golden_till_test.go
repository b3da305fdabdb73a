package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/renameio/v2"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
)

// till is a service with an SQLite database, which it has open as long as it runs. It is played by this
// test's own program.
type till struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

// tillConfig is its configuration, till.json.
type tillConfig struct {
	Listen   string `json:"listen"`
	Database string `json:"database"`
}

// playTill serves orders until it is told to end.
func playTill(dir string) {
	if err := serveTill(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serveTill(dir string) error {
	var c tillConfig
	text, err := os.ReadFile(filepath.Join(dir, "till.json"))
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	// An error ends the shell, and with it the service.
	shell := exec.Command("sqlite3", "-batch", "-bail", "-noheader", c.Database)
	shell.Stderr = os.Stderr
	in, err := shell.StdinPipe()
	if err != nil {
		return err
	}
	out, err := shell.StdoutPipe()
	if err != nil {
		return err
	}
	if err := shell.Start(); err != nil {
		return err
	}
	t := &till{in: in, out: bufio.NewReader(out)}
	if _, err := t.ask(".mode json\n.timeout 5000\nPRAGMA journal_mode=wal;"); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, "till.pid"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return err
	}
	server := &http.Server{Handler: t.handler(), ReadHeaderTimeout: time.Second}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		<-told
		_ = server.Shutdown(context.Background())
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	t.mu.Lock() // after the last answer
	return errors.Join(in.Close(), shell.Wait())
}

func (t *till) handler() http.Handler {
	mux := http.NewServeMux()
	serve := func(pattern string, sql func(*http.Request) (string, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			text, err := sql(r)
			var rows []byte
			if err == nil {
				rows, err = t.ask(text)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = w.Write(rows)
		})
	}
	query := func(sql string) func(*http.Request) (string, error) {
		return func(*http.Request) (string, error) { return sql, nil }
	}
	serve("GET /healthz", query("SELECT count(*) AS n FROM orders;"))
	serve("GET /orders", query("SELECT * FROM orders ORDER BY N;"))
	serve("GET /balances", query("SELECT amount FROM balances ORDER BY account;"))
	serve("POST /orders", func(r *http.Request) (string, error) {
		var o order
		err := json.NewDecoder(r.Body).Decode(&o)
		return "BEGIN IMMEDIATE;" + insertSQL(o) + "COMMIT;", err
	})
	return mux
}

// insertSQL keeps an order in the words of SQLite.
func insertSQL(o order) string {
	return fmt.Sprintf("INSERT INTO orders VALUES (%d, %d, %d, %d, '%s');UPDATE balances SET amount = amount - %d WHERE account = %d;"+
		"UPDATE balances SET amount = amount + %d WHERE account = %d;\n",
		o.N, o.Source, o.Target, o.Amount, strings.ReplaceAll(o.Text, "'", "''"), o.Amount, o.Source, o.Amount, o.Target)
}

// ask has the shell execute SQL and returns the rows as JSON.
func (t *till) ask(sql string) ([]byte, error) {
	const end = "-- end of the answer --"
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := io.WriteString(t.in, sql+"\n.print '"+end+"'\n"); err != nil {
		return nil, err
	}
	var rows []byte
	for {
		line, err := t.out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("the shell has ended: %w", err)
		}
		if string(bytes.TrimSpace(line)) == end {
			return rows, nil
		}
		rows = append(rows, line...)
	}
}

// tillServer is the service as the test sees it.
type tillServer struct {
	dir, addr string
	http      http.Client
}

func newTill(t *testing.T) *tillServer {
	t.Helper()
	testenv.Need(t, "sqlite3")
	s := &tillServer{dir: t.TempDir(), addr: testenv.Addr(t), http: http.Client{Timeout: 30 * time.Second}}
	require.NoError(t, os.Mkdir(s.data(), 0o750))
	text, err := json.Marshal(tillConfig{Listen: s.addr, Database: s.database()})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.config(), text, 0o640))
	t.Cleanup(s.kill)
	return s
}

func (s *tillServer) data() string     { return filepath.Join(s.dir, "data") }
func (s *tillServer) database() string { return filepath.Join(s.data(), "till.db") }
func (s *tillServer) config() string   { return filepath.Join(s.dir, "till.json") }
func (s *tillServer) pidFile() string  { return filepath.Join(s.dir, "till.pid") }

func (s *tillServer) argv(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return []string{self, "till", s.dir}
}

// fill makes the database and starts the service.
func (s *tillServer) fill(t *testing.T, orders []order) {
	t.Helper()
	var sql strings.Builder
	sql.WriteString("PRAGMA journal_mode=wal;BEGIN;\nCREATE TABLE orders (N INTEGER PRIMARY KEY, Source INT, Target INT, Amount INT, Text TEXT);\n" +
		"CREATE INDEX texts ON orders (Text);\nCREATE TABLE balances (account INTEGER PRIMARY KEY, amount INT);\n")
	for a := range accounts {
		fmt.Fprintf(&sql, "INSERT INTO balances VALUES (%d, 0);\n", a)
	}
	for _, o := range orders {
		sql.WriteString(insertSQL(o))
	}
	sql.WriteString("COMMIT;\n")
	shell := exec.Command("sqlite3", "-batch", "-bail", s.database())
	shell.Stdin = strings.NewReader(sql.String())
	out, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", out)
	argv := s.argv(t)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	go func() { _ = cmd.Wait() }()
	stand.Await(t, patience, "the till to answer", func(context.Context) bool { return s.get("/healthz", nil) == nil })
}

// kill ends the service as a crash does, its shell included.
func (s *tillServer) kill() {
	if pid := pidIn(s.pidFile()); pid > 1 {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); bytes.Contains(line, []byte(s.dir)) {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	}
}

func (s *tillServer) get(path string, out any) error {
	return askJSON(&s.http, http.MethodGet, "http://"+s.addr+path, nil, out)
}

func (s *tillServer) write(o order) error {
	return askJSON(&s.http, http.MethodPost, "http://"+s.addr+"/orders", o, nil)
}

// askJSON sends in, unless it is nil, and reads a good answer into out, unless that is nil.
func askJSON(c *http.Client, method, url string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequest(method, url, &body)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(text, out)
}

func (s *tillServer) read(t *testing.T) (orders []order, balances []int) {
	t.Helper()
	require.NoError(t, s.get("/orders", &orders))
	var rows []struct{ Amount int }
	require.NoError(t, s.get("/balances", &rows))
	for _, r := range rows {
		balances = append(balances, r.Amount)
	}
	return orders, balances
}

// pidIn is the process number in a file, 0 if there is none.
func pidIn(path string) int {
	text, _ := os.ReadFile(path)
	word, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	n, _ := strconv.Atoi(word)
	return n
}
