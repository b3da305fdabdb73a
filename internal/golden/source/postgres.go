package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// PostgresOptions say which PostgreSQL server is exported.
type PostgresOptions struct {
	// Data is the data folder.
	Data string
	// DSN, best as a reference: env:NAME or file:PATH. Default: libpq's variables and rules. Its user
	// needs the attribute REPLICATION, and pg_hba.conf a line for "replication".
	DSN string
	// User that runs the programs, such as postgres; default: the user of this process.
	User string
	// Bin is the folder of PostgreSQL's programs; default: where the server's version is packaged, or PATH.
	Bin string
	// Limit of time; default DefaultLimit.
	Limit time.Duration
}

// Postgres exports a whole PostgreSQL server with pg_basebackup: a folder that the server starts
// from, with the write-ahead log that it needs to become consistent.
type Postgres struct {
	name string
	o    PostgresOptions
}

var (
	_ Source   = (*Postgres)(nil)
	_ Verifier = (*Postgres)(nil)
)

// NewPostgres makes the source.
func NewPostgres(name string, o PostgresOptions) (*Postgres, error) {
	if err := checkName(name, o.Data); err != nil {
		return nil, err
	}
	return &Postgres{name: name, o: o}, nil
}

// Name is the configuration's.
func (p *Postgres) Name() string { return p.name }

// The types in a golden's header of what one server or database of it is stored as, and of a tablespace of it.
const (
	typePostgres   = "postgres"
	typeTablespace = "postgres-tablespace"
)

// Made says whether an export is one of the data folder.
func (p *Postgres) Made(in format.Source) bool { return in.Type == typePostgres && in.Path == p.o.Data }

// Prepare takes a base backup and checks it.
func (p *Postgres) Prepare(ctx context.Context, dir string) (*Export, error) {
	ctx, cancel := limited(ctx, p.o.Limit)
	defer cancel()
	as, err := lookUp(p.o.User)
	if err != nil {
		return nil, err
	}
	spaces, err := p.tablespaces()
	if err != nil {
		return nil, err
	}
	f, err := newFolder(dir, exportPrefix, as)
	if err != nil {
		return nil, err
	}
	e := &Export{
		Overlays: map[string]string{p.o.Data: filepath.Join(f.path, "data")},
		Sources:  []format.Source{{Name: p.name, Type: typePostgres, Path: p.o.Data}},
		closers:  []func(context.Context) error{f.close},
	}
	for _, oid := range slices.Sorted(maps.Keys(spaces)) {
		e.Overlays[spaces[oid]] = filepath.Join(f.path, "tablespace-"+oid)
		e.Sources = append(e.Sources, format.Source{Name: p.name, Type: typeTablespace, Path: spaces[oid]})
	}
	if err := p.export(ctx, f.path, as, e.Overlays, spaces); err != nil {
		return nil, errors.Join(err, f.remove())
	}
	return e, nil
}

// tablespaces are the folders outside of the data folder, by the names of the links to them.
func (p *Postgres) tablespaces() (map[string]string, error) {
	if _, err := os.Stat(filepath.Join(p.o.Data, "PG_VERSION")); err != nil {
		return nil, shivx.Hint(fmt.Errorf("%s is no data folder of PostgreSQL that can be read: %w", p.o.Data, err), "the server's own word: SHOW data_directory")
	}
	if real, err := filepath.EvalSymlinks(p.o.Data); err != nil || real != p.o.Data {
		return nil, shivx.Hint(errors.Join(fmt.Errorf("the data folder %s is reached over a symbolic link", p.o.Data), err), "set data to "+real)
	}
	links := filepath.Join(p.o.Data, "pg_tblspc")
	list, err := os.ReadDir(links)
	spaces := map[string]string{}
	for _, d := range list {
		if d.Type()&fs.ModeSymlink == 0 {
			continue // a folder within
		}
		if spaces[d.Name()], err = os.Readlink(filepath.Join(links, d.Name())); err != nil {
			return nil, err
		}
	}
	return spaces, err
}

// export fills the overlays.
func (p *Postgres) export(ctx context.Context, dir string, as *account, overlays, spaces map[string]string) error {
	size, err := liveSize(ctx, slices.Collect(maps.Keys(overlays)))
	if err != nil {
		return err
	}
	if err := room(dir, p.o.Data, size); err != nil {
		return err
	}
	if err := p.baseBackup(ctx, dir, as, overlays); err != nil {
		return err
	}
	data := overlays[p.o.Data]
	// As the one who wrote it, who alone may be able to use the links to the tablespaces.
	if err := p.verify(ctx, as, dir, data, nil); err != nil {
		return err
	}
	s, err := takeOver(dir, as)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := p.sameServer(data); err != nil {
		return err
	}
	// The links of the program may be names that only it could use.
	if err := s.link(data, spaces, func(live string) string { return live }); err != nil {
		return err
	}
	for live, export := range overlays {
		if err := s.adopt(export, live); err != nil {
			return err
		}
	}
	return nil
}

// baseBackup runs pg_basebackup. It works through a replication slot that ends with its connection,
// so nothing is left in the server however it ends.
func (p *Postgres) baseBackup(ctx context.Context, dir string, as *account, overlays map[string]string) error {
	conn, err := connect(p.o.DSN)
	if err != nil {
		return err
	}
	t := tool{as: as, dir: dir, env: conn.env}
	argv := append([]string{p.program("pg_basebackup")}, conn.args()...)
	argv = append(argv, "--pgdata="+t.reach(overlays[p.o.Data]), "--format=plain", "--wal-method=stream", "--checkpoint=fast",
		"--no-sync", "--no-password", "--label=shivx "+p.name)
	for live, export := range overlays {
		if live != p.o.Data {
			argv = append(argv, "--tablespace-mapping="+mapped(live)+"="+mapped(t.reach(export)))
		}
	}
	t.argv = argv
	_, err = t.run(ctx)
	return err
}

// mapped writes a path as --tablespace-mapping reads it.
func mapped(path string) string { return strings.ReplaceAll(path, "=", `\=`) }

// sameServer fails when the base backup is not of the server in the data folder: a restore would
// replace one by the other. Both begin pg_control with the number that initdb has drawn.
func (p *Postgres) sameServer(data string) error {
	var ids [2][8]byte
	for i, dir := range []string{p.o.Data, data} {
		f, err := os.Open(filepath.Join(dir, "global", "pg_control"))
		if err != nil {
			return err
		}
		_, err = io.ReadFull(f, ids[i][:])
		_ = f.Close()
		if err != nil {
			return err
		}
	}
	if !bytes.Equal(ids[0][:], ids[1][:]) {
		return shivx.Hint(fmt.Errorf("the server that answers is not the one in %s", p.o.Data), "correct dsn or data")
	}
	return nil
}

// Verify checks a copy of the data folder with pg_verifybackup, as whoever it belongs to: User may be one who can
// read the live server only. Tablespaces, which its links show at
// their live places, are left out.
func (p *Postgres) Verify(ctx context.Context, path string) error {
	ctx, cancel := limited(ctx, p.o.Limit)
	defer cancel()
	spaces, err := os.ReadDir(filepath.Join(path, "pg_tblspc"))
	if err != nil {
		return err
	}
	var ignore []string
	for _, d := range spaces {
		ignore = append(ignore, "--ignore=pg_tblspc/"+d.Name())
	}
	as, err := holder(path)
	if err != nil {
		return err
	}
	return p.verify(ctx, as, path, path, ignore)
}

// verify checks a copy that is or lies in the folder dir, with no more rights than those of the user whose it is.
func (p *Postgres) verify(ctx context.Context, as *account, dir, data string, ignore []string) error {
	// The copy says its version, also when the live folder is gone, as it may be in a restore.
	t := tool{as: as, dir: dir}
	t.argv = append([]string{program(p.o.Bin, data, "pg_verifybackup"), "--quiet"}, ignore...)
	t.argv = append(t.argv, t.reach(data))
	_, err := t.run(ctx)
	return err
}

// pgVersion is a version as PG_VERSION has it: 17, or 9.6 before the tenth.
var pgVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// program finds a program of PostgreSQL of the server's version: PATH may have a later one, or
// Debian's wrapper, which chooses a server by itself.
func (p *Postgres) program(name string) string { return program(p.o.Bin, p.o.Data, name) }

func program(bin, data, name string) string {
	if bin != "" {
		return filepath.Join(bin, name)
	}
	version, _ := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	// Whoever the data belongs to writes it; what else it may say could lead to a program of theirs.
	if v := strings.TrimSpace(string(version)); pgVersion.MatchString(v) {
		for _, dir := range []string{"/usr/lib/postgresql/" + v + "/bin", "/usr/pgsql-" + v + "/bin"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return filepath.Join(dir, name)
			}
		}
	}
	return name
}

// liveSize sums the sizes of the files below the folders in bytes, but for write-ahead logs.
func liveSize(ctx context.Context, dirs []string) (int64, error) {
	var size int64
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() && d.Name() == "pg_wal" {
				return fs.SkipDir // what is gone by now takes no room
			}
			if err != nil || !d.Type().IsRegular() {
				return errors.Join(err, ctx.Err())
			}
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("measure %s: %w", dir, err)
		}
	}
	return size, nil
}
