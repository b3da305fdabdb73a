package golden_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/source"
	"github.com/shivx/shivx/internal/testenv"
)

func sqlite(t *testing.T, path, text string) string {
	t.Helper()
	out, err := exec.Command(testenv.Need(t, "sqlite3")[0], path, text).CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSpace(string(out))
}

// crashed is a host whose application has died after the golden, with rows in the log of its database.
func crashed(t *testing.T, change func(*golden.Set, string)) (m *machine, db string, info shivx.GoldenInfo) {
	t.Helper()
	m = newMachine(t)
	db = filepath.Join(m.tree, "app.db")
	sqlite(t, db, "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES('good')")
	src, err := source.NewSQLite("app", source.SQLiteOptions{Path: db})
	require.NoError(t, err)
	m.o.Sets[0].Sources = []source.Source{src}
	change(&m.o.Sets[0], db)
	m.restart()
	info = m.take("")
	app := exec.Command(testenv.Need(t, "sqlite3")[0], "-batch", db)
	in, err := app.StdinPipe()
	require.NoError(t, err)
	out, err := app.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, app.Start())
	_, err = in.Write([]byte("INSERT INTO t VALUES('bad');\nSELECT 'written';\n"))
	require.NoError(t, err)
	_, err = out.Read(make([]byte, 100))
	require.NoError(t, err)
	require.NoError(t, app.Process.Kill())
	_ = app.Wait()
	require.FileExists(t, db+"-wal")
	return m, db, info
}

// A log that was left beside a database would bring back into the restored one what came after the golden.
func TestNoLogIsReplayedOverARestoredDatabase(t *testing.T) {
	for name, change := range map[string]func(*golden.Set, string){
		"below a root":   func(*golden.Set, string) {},
		"alone":          func(s *golden.Set, _ string) { s.Paths = nil },
		"as a root":      func(s *golden.Set, db string) { s.Paths = []string{db} },
		"logs left out":  func(s *golden.Set, _ string) { s.Exclude = []string{"/**/*-wal", "/**/*-shm"} },
		"folder is kept": func(s *golden.Set, db string) { s.Exclude = []string{db + "-*"} },
	} {
		for how, r := range map[string]golden.Restore{"whole": {}, "in place": {InPlace: true}, "only": {InPlace: true, Only: []string{""}}} {
			t.Run(name+" "+how, func(t *testing.T) {
				m, db, info := crashed(t, change)
				r.ID, r.Set, r.Golden = "r", "shop", info.ID
				if r.Only != nil {
					r.Only = []string{db}
				}
				_, err := m.Stage(t.Context(), r, nil)
				require.NoError(t, err)
				_, err = m.Validate(t.Context(), r)
				require.NoError(t, err)
				_, err = m.Swap(t.Context(), r)
				require.NoError(t, err)
				_, err = m.Finish(t.Context(), r, false)
				require.NoError(t, err)
				require.NoFileExists(t, db+"-wal")
				require.Equal(t, "good", sqlite(t, db, "SELECT group_concat(x) FROM t"))
			})
		}
	}
}

// What is unchanged is in use, and its own program must not look at it.
func TestInPlaceChecksOnlyWhatIsStaged(t *testing.T) {
	m, db, info := crashed(t, func(*golden.Set, string) {})
	m.restore("first", info.ID)
	require.NoError(t, os.WriteFile(db+"-wal", []byte("of a transaction under way"), 0o600))
	m.write("d0/f4", "edited")
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID, InPlace: true}
	c, err := m.Stage(t.Context(), r, nil)
	require.NoError(t, err)
	n, err := m.Validate(t.Context(), r)
	require.NoError(t, err)
	require.Zero(t, n, "the live database was looked at: %+v", c.List)
}

func TestADifferenceSaysThatItIsAnExport(t *testing.T) {
	m, db, info := crashed(t, func(*golden.Set, string) {})
	sqlite(t, db, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA user_version = 7")
	m.write("d0/f4", "edited")
	c, err := m.PlanRestore(t.Context(), golden.Restore{Set: "shop", Golden: info.ID}, nil)
	require.NoError(t, err)
	said := map[string]string{}
	for _, one := range c.List {
		said[one.Path] = one.Detail
	}
	require.Contains(t, said[db], "export by the source app")
	require.NotContains(t, said[filepath.Join(m.tree, "d0/f4")], "export")
}

// A name that was given to another database says nothing of the one in the golden.
func TestSourceOfAnotherKindOrPlaceIsRefused(t *testing.T) {
	db := &dumped{}
	m := newMachine(t, func(o *golden.Options) {
		db.path = filepath.Join(filepath.Dir(o.Dir), "dumps")
		o.Sets[0].Sources = []source.Source{db}
	})
	info := m.take("")
	was := db.path
	db.path = filepath.Join(filepath.Dir(was), "elsewhere")
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
	c, err := m.PlanRestore(t.Context(), r, nil)
	require.NoError(t, err)
	require.Contains(t, c.Notes[0], "refused")
	_, err = m.Validate(t.Context(), r)
	require.ErrorIs(t, err, golden.ErrInvalid)
	require.ErrorContains(t, err, was)
	require.Contains(t, shivx.HintOf(err), "another name")
	_, err = m.Load(t.Context(), r)
	require.Error(t, err)
	require.Zero(t, db.loaded, "something else was loaded")
	db.path = was
	_, err = m.Validate(t.Context(), r)
	require.NoError(t, err)
}

// What a backup has stopped is started again although its process was killed, and in the folder of its own set.
func TestSourcesAreResumed(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	hook := func(words string) command.Spec {
		return command.Spec{Argv: []string{"sh", "-c", "echo " + words + " >> " + log}}
	}
	stop := func(set string) source.Source {
		s, err := source.NewCommand("stop", source.CommandOptions{Pre: hook("pre " + set), Post: hook("post " + set)})
		require.NoError(t, err)
		return s
	}
	m := newMachine(t, func(o *golden.Options) {
		o.Sets = append(o.Sets, golden.Set{Name: "other", Paths: o.Sets[0].Paths, Sources: []source.Source{stop("other")}})
		o.Sets[0].Sources = []source.Source{stop("shop")}
	})
	require.NoError(t, m.ResumeSources(t.Context()))
	require.NoFileExists(t, log)
	// This is all that a killed process leaves.
	require.NoError(t, os.MkdirAll(filepath.Join(m.o.Dir, "exports", "shop", "hook-stop~1"), 0o700))
	require.NoError(t, m.ResumeSources(t.Context()))
	require.NoError(t, m.ResumeSources(t.Context()))
	said, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "post shop\n", string(said))
}

// A server comes back from its base backup, also in place, and with patterns that fit its own files.
func TestPostgresComesBackWholeAndInPlace(t *testing.T) {
	testenv.Need(t, "pg_basebackup", "pg_verifybackup")
	server := testenv.Postgres(t)
	c := server.Connect(t)
	_, err := c.Exec(t.Context(), "CREATE TABLE t(x int); INSERT INTO t VALUES(1)")
	require.NoError(t, err)
	o := source.PostgresOptions{Data: server.Data, DSN: server.DSN}
	if os.Geteuid() == 0 {
		o.User = "postgres"
	}
	src, err := source.NewPostgres("db", o)
	require.NoError(t, err)
	m := newMachine(t, func(o *golden.Options) {
		o.Sets[0] = golden.Set{Name: "shop", Sources: []source.Source{src}, Exclude: []string{"/**/*.map", "/**/PG_*"}}
	})
	info := m.take("")
	for id, inPlace := range map[string]bool{"whole": false, "in-place": true} {
		_, err = server.Connect(t).Exec(t.Context(), "INSERT INTO t VALUES(2)")
		require.NoError(t, err)
		server.Stop(t)
		r := golden.Restore{ID: id, Set: "shop", Golden: info.ID, InPlace: inPlace}
		_, err = m.Stage(t.Context(), r, nil)
		require.NoError(t, err)
		n, err := m.Validate(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, !inPlace, n == 1)
		_, err = m.Swap(t.Context(), r)
		require.NoError(t, err)
		_, err = m.Finish(t.Context(), r, false)
		require.NoError(t, err)
		server.Start(t)
		rows := 0
		require.NoError(t, server.Connect(t).QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&rows))
		require.Equal(t, 1, rows, id)
	}
}
