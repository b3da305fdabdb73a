package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/testenv"
	"github.com/shivx/shivx/test/stand"
	"github.com/shivx/shivx/workflows"
)

// shop is a golden set of four services, with an agent that looks after them.
type shop struct {
	*scene
	web      *webBook
	cache    *redisBook
	database *postgresBook
	till     *tillServer
	writers  []*writer
	// ended is how many golden runs have ended in the ledger so far.
	ended int
}

// firstOrders is how many orders every service has when the shop opens, filesServed how many files
// nginx serves beside them.
const (
	firstOrders = 2000
	filesServed = 300
)

// patient keeps a component from being healed: what is damaged here is for a restore to repair.
const patient = `
    failures: 1000000
    validate: {window: 300ms, every: 100ms, settle: 500ms}
    limits: {cooldown: 100ms}
`

const shopComponents = `
  - name: web
    checks:
      - process: {pid_file: <web pid>}
      - http: {url: <web url>, body: open}
    ladder: [{use: process, with: {start: <web start>, pid_file: <web pid>}}]
` + patient + `
  - name: cache
    checks:
      - process: {pid_file: <cache pid>}
      - redis: {address: <cache addr>, writable: true}
    ladder: [{use: process, with: {start: <cache start>, pid_file: <cache pid>}}]
` + patient + `
  - name: database
    checks:
      - process: {pid_file: <database pid>}
      - postgresql: {dsn: <database dsn>, query: SELECT count(*) FROM balances}
    ladder: [{use: process, with: {start: <database start>, stop: <database stop>, pid_file: <database pid>}}]
` + patient + `
  - name: till
    checks:
      - process: {pid_file: <till pid>}
      - http: {url: <till url>}
    ladder: [{use: process, with: {start: <till start>, pid_file: <till pid>}}]
` + patient

const shopSet = `
golden:
  sets:
    - name: shop
      paths: [<web conf>, <web sites>, <web root>, <cache conf>, <till conf>, <till data>]
      sources:
        - {name: database, postgres: {data_directory: <database data>, dsn: <database dsn>}}
        - {name: cache, redis: {address: <cache addr>}}
        - {name: till, sqlite: {path: <till database>}}
      services: [database, cache, till, web]
      validate:
        - {match: <web conf>, command: {argv: <web test>}}
        - {match: <till conf>, format: json}
      service_timeout: 30s
`

// openShop starts everything and fills it.
func openShop(t *testing.T) *shop {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, to give files back to their owners")
	}
	s := &shop{
		web: &webBook{NginxServer: testenv.Nginx(t, "include sites/*.conf;")}, cache: &redisBook{testenv.Redis(t)},
		database: &postgresBook{PostgresServer: testenv.Postgres(t)}, till: newTill(t),
	}
	s.furnish(t)
	var first []order
	for n := range firstOrders {
		first = append(first, orderOf(n+1))
	}
	for name, b := range map[string]book{"web": s.web, "cache": s.cache, "database": s.database, "till": s.till} {
		b.fill(t, first)
		w := &writer{name: name, book: b, paused: true}
		s.writers = append(s.writers, w)
		stop := make(chan struct{})
		t.Cleanup(func() { close(stop) })
		go w.run(stop)
	}
	s.scene = play(t, stand.NewServer(t), "golden", s.configuration(t))
	return s
}

func (s *shop) configuration(t *testing.T) string {
	t.Helper()
	conf := s.web.Argv[:len(s.web.Argv)-2] // without "-g daemon off;"
	as := s.database.Argv[:len(s.database.Argv)-3]
	stop := slices.Concat(as, testenv.Need(t, "pg_ctl"), []string{"stop", "-D", s.database.Data, "-m", "fast", "-t", "8"})
	return fill(shopComponents+shopSet,
		"web pid", s.web.PIDFile, "web url", "http://"+s.web.Addr+"/", "web start", s.web.Argv, "web conf", s.web.Conf,
		"web sites", s.sites(), "web root", s.web.Root, "web test", append(slices.Clone(conf), "-t"),
		"cache pid", s.cache.PIDFile, "cache addr", s.cache.Addr, "cache start", s.cache.Argv, "cache conf", s.cache.Conf,
		"database pid", s.database.PIDFile, "database dsn", secret(t, s.database.DSN), "database start", s.database.Argv,
		"database stop", stop, "database data", s.database.Data,
		"till pid", s.till.pidFile(), "till url", "http://"+s.till.addr+"/healthz", "till start", s.till.argv(t),
		"till conf", s.till.config(), "till data", s.till.data(), "till database", s.till.database())
}

func (s *shop) sites() string { return filepath.Join(s.web.Dir, "sites") }

// furnish gives nginx what a web server has: files of all sizes and kinds.
func (s *shop) furnish(t *testing.T) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2)) // the same in every run
	for n := range filesServed {
		dir := filepath.Join(s.web.Root, "static", fmt.Sprint(n%7))
		require.NoError(t, os.MkdirAll(dir, 0o755))
		text := make([]byte, 1<<10+random.IntN(63<<10))
		for i := range text[:len(text)/2] {
			text[i] = byte(random.Uint32())
		}
		path := filepath.Join(dir, fmt.Sprintf("file %d", n))
		require.NoError(t, os.WriteFile(path, text, 0o644))
		require.NoError(t, os.Chmod(path, []fs.FileMode{0o644, 0o600, 0o755 | fs.ModeSetuid, 0o444}[n%4]))
		require.NoError(t, os.Chtimes(path, time.Time{}, time.Unix(1_600_000_000+int64(n), int64(n)*1001)))
	}
	static := func(name string) string { return filepath.Join(s.web.Root, "static", name) }
	require.NoError(t, os.Symlink("../0/file 0", static("1/link")))
	require.NoError(t, os.Link(static("2/file 2"), static("3/same")))
	require.NoError(t, os.Chown(static("4/file 4"), 65534, 65534))
	require.NoError(t, os.Mkdir(s.sites(), 0o755))
	testenv.WriteFile(t, filepath.Join(s.sites(), "teapot.conf"), "location = /teapot { return 418; }\n")
	s.sign(t, "open")
	require.NoError(t, syscall.Kill(s.web.PID(), syscall.SIGHUP))
}

// sign writes what the shop's door says; the health check wants it to be "open".
func (s *shop) sign(t *testing.T, text string) {
	t.Helper()
	testenv.WriteFile(t, filepath.Join(s.web.Root, "index.html"), text+"\n")
}

// stock lists all files that nothing writes to while the shop is open, with all that a restore must
// bring back of them.
func (s *shop) stock(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, root := range []string{s.web.Conf, s.sites(), s.web.Root, s.cache.Conf, s.till.config()} {
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if path == filepath.Dir(s.web.page(1)) {
				return fs.SkipDir
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			st := info.Sys().(*syscall.Stat_t)
			what := ""
			switch {
			case d.Type().IsRegular():
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				sum := sha256.Sum256(text)
				what = hex.EncodeToString(sum[:])
			case d.Type()&fs.ModeSymlink != 0:
				what, err = os.Readlink(path)
			}
			out = append(out, fmt.Sprintf("%s %v %d:%d %d links %s %s", path, info.Mode(), st.Uid, st.Gid, st.Nlink, info.ModTime().UTC(), what))
			return err
		}))
	}
	return out
}

// pauseOrders returns once no order is being written.
func (s *shop) pauseOrders(t *testing.T) {
	t.Helper()
	for _, w := range s.writers {
		w.pause(t)
	}
}

// takeOrders lets orders come in again, and waits until each service has some.
func (s *shop) takeOrders(t *testing.T) {
	t.Helper()
	for _, w := range s.writers {
		orders, _ := w.book.read(t)
		w.goOn(len(orders))
		before := len(orders)
		stand.Await(t, patience, "orders at the "+w.name, func(context.Context) bool { return w.acked.Load() >= int64(before)+20 })
	}
}

// acked returns the last order that each service has acknowledged.
func (s *shop) acked() map[string]int {
	out := map[string]int{}
	for _, w := range s.writers {
		out[w.name] = int(w.acked.Load())
	}
	return out
}

// pids returns the main process of each service.
func (s *shop) pids() map[string]int {
	return map[string]int{"web": s.web.FilePID(), "cache": s.cache.FilePID(), "database": s.database.FilePID(), "till": pidIn(s.till.pidFile())}
}

// golden runs `shivx golden` with the arguments, which must end with the exit code.
func (s *shop) golden(t *testing.T, code int, args ...string) string {
	t.Helper()
	said, got := s.Shivx(s.server, append([]string{"golden"}, args...)...)
	require.Equal(t, code, got, "shivx golden %s:\n%s", strings.Join(args, " "), said)
	return said
}

// restoreApproved runs `shivx golden restore` and answers it with `shivx approve`.
func (s *shop) restoreApproved(t *testing.T, code int, golden string) string {
	t.Helper()
	id := shivx.GoldenID(shivx.GoldenRestore, shivx.GoldenTarget{Set: "shop", Host: "golden"})
	said := make(chan string, 1)
	go func() {
		out, got := s.Shivx(s.server, "golden", "restore", golden)
		said <- fmt.Sprintf("exit code %d\n%s", got, out)
	}()
	stand.Await(t, patience, "the restore to ask for approval", func(ctx context.Context) bool {
		var st workflows.GoldenStatus
		v, err := s.server.Client().QueryWorkflow(ctx, id, "", shivx.QueryProgress)
		return err == nil && v.Get(&st) == nil && st.Approval != nil
	})
	answer, got := s.Shivx(s.server, "approve", id, "--by", "ana")
	require.Zero(t, got, answer)
	out := <-said
	require.True(t, strings.HasPrefix(out, fmt.Sprintf("exit code %d\n", code)), out)
	return out
}
