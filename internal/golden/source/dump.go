package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// DumpOptions say which databases of a PostgreSQL server are dumped.
type DumpOptions struct {
	// Path of the folder that stands for the dumps in a golden, and where a restore puts them. It
	// need not exist otherwise.
	Path string
	// Databases to dump; default: the one that DSN names.
	Databases []string
	// DSN, best as a reference: env:NAME or file:PATH. Default: libpq's variables and rules. Its user
	// must own the databases, or be a superuser.
	DSN string
	// User that runs the programs; default: the user of this process.
	User string
	// Bin is the folder of PostgreSQL's programs; default: the newest that is packaged, or PATH.
	Bin string
	// Limit of time, for an export and for the restore of one; default DefaultLimit.
	Limit time.Duration
}

// Dump exports databases with pg_dump and brings them back once the server runs. Roles and other
// settings of the whole server are not in it. What was in the databases before is not brought back when
// the restore is undone.
type Dump struct {
	name string
	o    DumpOptions
}

var (
	_ Source   = (*Dump)(nil)
	_ Verifier = (*Dump)(nil)
	_ Finisher = (*Dump)(nil)
)

// NewDump makes the source.
func NewDump(name string, o DumpOptions) (*Dump, error) {
	if err := checkName(name, o.Path); err != nil {
		return nil, err
	}
	if len(o.Databases) == 0 {
		o.Databases = []string{""}
	}
	return &Dump{name: name, o: o}, nil
}

// Name is the configuration's.
func (d *Dump) Name() string { return d.name }

// Made says whether an export is one of dumps that stand where After looks for them.
func (d *Dump) Made(in format.Source) bool { return in.Type == typePostgres && in.Path == d.o.Path }

// Prepare dumps the databases, each as it is at one instant, and reads the dumps again.
func (d *Dump) Prepare(ctx context.Context, dir string) (*Export, error) {
	ctx, cancel := limited(ctx, d.o.Limit)
	defer cancel()
	as, err := lookUp(d.o.User)
	if err != nil {
		return nil, err
	}
	conn, err := connect(d.o.DSN)
	if err != nil {
		return nil, err
	}
	f, err := newFolder(dir, exportPrefix, nil)
	if err != nil {
		return nil, err
	}
	for _, db := range d.o.Databases {
		if err := d.dump(ctx, as, conn.database(db), filepath.Join(f.path, dumpName(db))); err != nil {
			return nil, errors.Join(err, f.remove())
		}
	}
	err = d.Verify(ctx, f.path)
	if err == nil && as != nil {
		err = os.Chown(f.path, as.uid, as.gid) // restored, it is for that user to read
	}
	if err != nil {
		return nil, errors.Join(err, f.remove())
	}
	return &Export{
		Overlays: map[string]string{d.o.Path: f.path},
		Sources:  []format.Source{{Name: d.name, Type: typePostgres, Path: d.o.Path}},
		closers:  []func(context.Context) error{f.close},
	}, nil
}

// dump writes the dump of a database to a new file, which is open already for the user that dumps: no folder
// has to be open to that one.
func (d *Dump) dump(ctx context.Context, as *account, conn connection, path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// The store compresses better what is not compressed yet, and finds there what it has already.
	argv := append([]string{d.program("pg_dump")}, conn.args()...)
	argv = append(argv, "--format=custom", "--compress=0", "--no-password")
	_, err = tool{argv: argv, as: as, env: conn.env, out: file}.run(ctx)
	if err == nil && as != nil {
		err = file.Chown(as.uid, as.gid)
	}
	return errors.Join(err, file.Close())
}

// dumpName is the name of a database's dump.
func dumpName(db string) string { return "db-" + url.QueryEscape(db) + ".dump" }

// Verify reads the dumps in the folder path to their ends.
func (d *Dump) Verify(ctx context.Context, path string) error {
	ctx, cancel := limited(ctx, d.o.Limit)
	defer cancel()
	for _, db := range d.o.Databases {
		if _, err := (tool{argv: []string{d.program("pg_restore"), "--file=/dev/null", filepath.Join(path, dumpName(db))}}).run(ctx); err != nil {
			return shivx.Hint(fmt.Errorf("the dump of database %q: %w", db, err), "verify the golden; another one may be sound")
		}
	}
	return nil
}

// After brings the databases to the state in their dumps, each in one transaction: after an error
// that database and those after it are as before.
func (d *Dump) After(ctx context.Context) error {
	ctx, cancel := limited(ctx, d.o.Limit)
	defer cancel()
	as, err := lookUp(d.o.User)
	if err != nil {
		return err
	}
	conn, err := connect(d.o.DSN)
	if err != nil {
		return err
	}
	for _, db := range d.o.Databases {
		if err := d.load(ctx, as, conn.database(db), filepath.Join(d.o.Path, dumpName(db))); err != nil {
			return fmt.Errorf("load the dump of database %q: %w", db, err)
		}
	}
	return nil
}

// emptyDatabase removes what is in a database, as a dump only replaces what it has itself. A dump
// takes the schema "public" of a new database for granted.
const emptyDatabase = `SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = warning;
DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' LOOP
    EXECUTE format('DROP EXTENSION IF EXISTS %I CASCADE', name);
  END LOOP;
  FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', name);
  END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
  IF current_setting('server_version_num')::int >= 150000 THEN
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
  ELSE
    CREATE SCHEMA public;
    GRANT ALL ON SCHEMA public TO PUBLIC;
  END IF;
  COMMENT ON SCHEMA public IS 'standard public schema';
END $$;
`

// load replaces a database by what its dump has. Readers see the old state until the new one is
// whole. The dump is made a script first: from a pipe psql would take half a script for a whole one.
func (d *Dump) load(ctx context.Context, as *account, conn connection, dump string) error {
	info, err := os.Stat(dump)
	if err != nil {
		return err
	}
	dir := filepath.Dir(d.o.Path)
	if err := room(dir, dump, info.Size()); err != nil {
		return err
	}
	script, err := nameless(dir)
	if err != nil {
		return fmt.Errorf("make room for the script of %s: %w", dump, err)
	}
	defer script.Close()
	if _, err := (tool{argv: []string{d.program("pg_restore"), "--clean", "--if-exists", "--file=-", dump}, out: script}).run(ctx); err != nil {
		return err
	}
	if _, err := script.Seek(0, io.SeekStart); err != nil {
		return err
	}
	argv := append([]string{d.program("psql")}, conn.args()...)
	argv = append(argv, "--no-psqlrc", "--quiet", "--no-password", "--single-transaction",
		"--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=-")
	_, err = tool{argv: argv, as: as, env: conn.env, in: io.MultiReader(strings.NewReader(emptyDatabase), script)}.run(ctx)
	return err
}

// nameless makes a file on the file system of a folder that is gone once it is closed, however the process
// ends.
func nameless(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err == nil || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return f, err
	}
	if f, err = os.CreateTemp(dir, ".shivx-load-"); err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// program finds a program of PostgreSQL: of the newest version, which can dump and load all others.
func (d *Dump) program(name string) string {
	if d.o.Bin != "" {
		return filepath.Join(d.o.Bin, name)
	}
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	if len(list) == 0 {
		return name
	}
	return slices.MaxFunc(list, func(a, b string) int { return version(a) - version(b) })
}
