package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// SQLiteOptions say which database is exported.
type SQLiteOptions struct {
	// Path of the database's file; not of a symbolic link to it, whose name SQLite does not use.
	Path string
	// Limit of time; default DefaultLimit.
	Limit time.Duration
}

// SQLite exports an SQLite database with the backup API, by the program sqlite3.
type SQLite struct {
	name string
	o    SQLiteOptions
}

var (
	_ Source   = (*SQLite)(nil)
	_ Verifier = (*SQLite)(nil)
)

// NewSQLite makes the source.
func NewSQLite(name string, o SQLiteOptions) (*SQLite, error) {
	if err := checkName(name, o.Path); err != nil {
		return nil, err
	}
	return &SQLite{name: name, o: o}, nil
}

// Name is the configuration's.
func (s *SQLite) Name() string { return s.name }

// Made says whether an export is of the database.
func (s *SQLite) Made(in format.Source) bool {
	return in.Type == format.TypeSQLite && in.Path == s.o.Path
}

// Prepare copies the database into the export and checks the copy.
func (s *SQLite) Prepare(ctx context.Context, dir string) (*Export, error) {
	ctx, cancel := limited(ctx, s.o.Limit)
	defer cancel()
	size, err := s.size()
	if err != nil {
		return nil, err
	}
	f, err := newFolder(dir, exportPrefix, nil)
	if err != nil {
		return nil, err
	}
	if err := s.export(ctx, f.path, size); err != nil {
		return nil, errors.Join(err, f.remove())
	}
	in := format.Source{Name: s.name, Type: format.TypeSQLite, Path: s.o.Path}
	return &Export{
		Overlays: map[string]string{s.o.Path: filepath.Join(f.path, sqliteCopy)},
		Absent:   in.Logs(),
		Sources:  []format.Source{in},
		closers:  []func(context.Context) error{f.close},
	}, nil
}

// sqliteCopy is the name of the copy in the export.
const sqliteCopy = "copy.db"

// size is that of the database with its write-ahead log.
func (s *SQLite) size() (int64, error) {
	info, err := os.Lstat(s.o.Path)
	if err != nil {
		return 0, shivx.Hint(err, "correct path, or leave the source out of the set")
	}
	if !info.Mode().IsRegular() {
		return 0, shivx.Hint(fmt.Errorf("%s is not a file", s.o.Path), "name the database's file itself, not a link to it")
	}
	size := info.Size()
	if wal, err := os.Lstat(s.o.Path + "-wal"); err == nil {
		size += wal.Size()
	}
	return size, nil
}

func (s *SQLite) export(ctx context.Context, dir string, size int64) error {
	if err := room(dir, s.o.Path, size); err != nil {
		return err
	}
	if err := s.backup(ctx, dir); err != nil {
		return err
	}
	target := filepath.Join(dir, sqliteCopy)
	if err := checkSQLite(ctx, dir, target, "integrity_check"); err != nil {
		return shivx.Hint(fmt.Errorf("the copy of %s: %w", s.o.Path, err), "the live database is damaged: restore an older golden")
	}
	live, err := openLive(filepath.Dir(s.o.Path), filepath.Base(s.o.Path))
	if err != nil {
		return err
	}
	defer live.Close()
	return adopt(target, live)
}

// backup writes the copy. Where a write-ahead log is in use, one read transaction around it pins a
// snapshot, while writers go on. Without a log such a transaction keeps writers out, so the copy is
// first tried without: SQLite then begins it anew after each change, which under constant writes
// never ends, and writers must wait after all.
func (s *SQLite) backup(ctx context.Context, dir string) error {
	mode, err := s.shell(ctx, dir, "PRAGMA journal_mode")
	if err != nil {
		return err
	}
	target := ".backup main " + sqliteCopy
	if strings.TrimSpace(mode) != "wal" {
		polite, cancel := context.WithTimeout(ctx, s.patience())
		defer cancel()
		if _, err := s.shell(polite, dir, target); err == nil || polite.Err() == nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, sqliteCopy)), os.RemoveAll(filepath.Join(dir, sqliteCopy+"-journal"))); err != nil {
			return err
		}
	}
	_, err = s.shell(ctx, dir, "BEGIN", "SELECT count(*) FROM sqlite_schema", target, "COMMIT")
	return err
}

// patience is how long a copy may be tried that does not keep writers out.
func (s *SQLite) patience() time.Duration {
	limit := s.o.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	return min(limit/4, 30*time.Second)
}

// shell runs commands on the live database. It opens it for writing, as every user of it does: a
// reader of a database that nobody has open would leave an empty log behind.
func (s *SQLite) shell(ctx context.Context, dir string, commands ...string) (string, error) {
	return sqlite(ctx, dir, sqliteURI(s.o.Path, "mode=rw"), append([]string{".timeout 10000"}, commands...)...)
}

// Verify checks the database at path with PRAGMA quick_check. Its content is known to be the golden's,
// which was checked wholly.
func (*SQLite) Verify(ctx context.Context, path string) error {
	ctx, cancel := limited(ctx, 0)
	defer cancel()
	return checkSQLite(ctx, filepath.Dir(path), path, "quick_check")
}

// checkSQLite runs a check on a database that nobody uses. Opened as immutable, it gets no log beside it.
func checkSQLite(ctx context.Context, dir, path, pragma string) error {
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	out, err := sqlite(ctx, dir, sqliteURI(path, "immutable=1"), "PRAGMA "+pragma)
	if err != nil {
		return err
	}
	if out = strings.TrimSpace(out); out != "ok" {
		first, _, _ := strings.Cut(out, "\n")
		return fmt.Errorf("PRAGMA %s: %w: %s", pragma, fs.ErrInvalid, first)
	}
	return nil
}

func sqliteURI(path, query string) string {
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String()
}

func sqlite(ctx context.Context, dir, database string, commands ...string) (string, error) {
	argv := append([]string{"sqlite3", "-batch", "-bail", "-noheader", "-list", database}, commands...)
	// Without a home there is no .sqliterc that would change what the commands do.
	return tool{argv: argv, dir: dir, env: map[string]string{"HOME": "/nonexistent"}}.run(ctx)
}

var sourceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// checkName checks what every source has. The name becomes part of file names.
func checkName(name, path string) error {
	if !sourceName.MatchString(name) {
		return shivx.Hint(fmt.Errorf("the name %q of a source", name), "use letters, digits, dots, - and _")
	}
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return shivx.Hint(fmt.Errorf("source %s: the path %q", name, path), "write an absolute path, without /./ or /../ in it")
	}
	return nil
}
