package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/format"
)

// RedisOptions say which server is exported. Its data folder must be reachable here.
type RedisOptions struct {
	// Address is host:port or unix:path.
	Address  string
	Username string
	// Password, best as a reference: env:NAME or file:PATH.
	Password string
	// Dir is the server's data folder as it is seen here; default: what the server says.
	Dir string
	// Limit of time; default DefaultLimit.
	Limit time.Duration
}

// Redis exports the data of a Redis server with BGSAVE.
type Redis struct {
	name string
	o    RedisOptions
}

var (
	_ Source   = (*Redis)(nil)
	_ Verifier = (*Redis)(nil)
)

// NewRedis makes the source.
func NewRedis(name string, o RedisOptions) (*Redis, error) {
	dir := o.Dir
	if dir == "" {
		dir = "/"
	}
	if err := checkName(name, dir); err != nil {
		return nil, err
	}
	if o.Address == "" {
		return nil, shivx.Hint(fmt.Errorf("source %s: no address", name), "write host:port, or unix: and the path of the socket")
	}
	if o.Username != "" && o.Password == "" {
		return nil, shivx.Hint(fmt.Errorf("source %s: a username without a password", name), "add password: env:NAME or file:PATH")
	}
	return &Redis{name: name, o: o}, nil
}

// Name is the configuration's.
func (r *Redis) Name() string { return r.name }

// Made says whether an export is of such a server. Where it keeps its data only the server knows.
func (*Redis) Made(in format.Source) bool { return in.Type == typeRedis }

// Prepare lets the server save its data and copies the file.
func (r *Redis) Prepare(ctx context.Context, dir string) (*Export, error) {
	ctx, cancel := limited(ctx, r.o.Limit)
	defer cancel()
	f, err := newFolder(dir, exportPrefix, nil)
	if err != nil {
		return nil, err
	}
	e, err := r.export(ctx, f.path)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("Redis at %s: %w", r.o.Address, context.Cause(ctx))
		}
		return nil, errors.Join(shivx.Hint(err, redisHint(err)), f.remove())
	}
	e.closers = []func(context.Context) error{f.close}
	return e, nil
}

func (r *Redis) export(ctx context.Context, dir string) (*Export, error) {
	s, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	l, err := s.layout(r.o.Dir)
	if err != nil {
		return nil, err
	}
	rdb, err := s.save(ctx, l.rdb)
	if err != nil {
		return nil, err
	}
	defer rdb.Close()
	return l.export(ctx, r.name, dir, rdb)
}

// The types in a golden's header of the saved file, which Verify can check, and of what stands for the log.
const (
	typeRedis    = "redis"
	typeRedisLog = "redis-log"
)

// redisLayout is where a server keeps its data.
type redisLayout struct {
	// rdb is the file that BGSAVE writes.
	rdb string
	// log is the folder of the append-only file, or before version 7 that file itself; "" if there is
	// none and the server keeps none.
	log string
	// manifest is the name of the manifest in log; "" before version 7.
	manifest string
}

// export copies the saved file. A server that keeps an append-only file reads nothing else when it
// starts, and starts empty when it finds none. So the copy stands also for that: as its base, with a
// manifest that names no more.
func (l redisLayout) export(ctx context.Context, name, dir string, rdb *os.File) (*Export, error) {
	e := &Export{
		Overlays: map[string]string{},
		Exclude:  []string{filepath.Join(GlobQuote(filepath.Dir(l.rdb)), "temp-*.rdb")},
		Sources:  []format.Source{{Name: name, Type: typeRedis, Path: l.rdb}},
	}
	info, err := rdb.Stat()
	if err != nil {
		return nil, err
	}
	if err := room(dir, l.rdb, info.Size()); err != nil {
		return nil, err
	}
	folder, base := dir, "dump.rdb"
	if l.manifest != "" {
		folder, base = filepath.Join(dir, "log"), strings.TrimSuffix(l.manifest, ".manifest")+".1.base.rdb"
		if err := l.writeManifest(folder, base); err != nil {
			return nil, err
		}
	}
	saved := filepath.Join(folder, base)
	if err := copyTo(ctx, saved, rdb); err != nil {
		return nil, err
	}
	if err := adopt(saved, rdb); err != nil {
		return nil, err
	}
	if err := checkRDB(ctx, saved); err != nil {
		return nil, err
	}
	e.Overlays[l.rdb] = saved
	if l.log == "" {
		return e, nil
	}
	e.Sources = append(e.Sources, format.Source{Name: name, Type: typeRedisLog, Path: l.log})
	if l.manifest == "" {
		e.Overlays[l.log] = saved
		return e, nil
	}
	e.Overlays[l.log] = folder
	return e, l.adoptLog(folder, rdb)
}

// writeManifest makes the folder of an append-only file with a base alone.
func (l redisLayout) writeManifest(folder, base string) error {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	line := fmt.Sprintf("file %s seq 1 type b\n", manifestName(base))
	return os.WriteFile(filepath.Join(folder, l.manifest), []byte(line), 0o600)
}

// adoptLog gives the folder and the manifest the owner and mode of the live ones. Where there are
// none yet, the saved file shows whose they are.
func (l redisLayout) adoptLog(folder string, rdb *os.File) error {
	if _, err := l.adopt(filepath.Join(folder, l.manifest), filepath.Join(l.log, l.manifest), rdb); err != nil {
		return err
	}
	found, err := l.adopt(folder, l.log, rdb)
	if err != nil || found {
		return err
	}
	return os.Chmod(folder, 0o750) //nolint:gosec // a folder, which Redis makes so or wider
}

// adopt makes path like a live file or folder among the server's data, or like the saved file where there is
// none; a link is none, wherever it leads.
func (l redisLayout) adopt(path, live string, rdb *os.File) (found bool, err error) {
	dir := filepath.Dir(l.rdb)
	rel, err := filepath.Rel(dir, live)
	if err != nil {
		return false, err
	}
	f, err := openLive(dir, rel)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return false, adopt(path, rdb)
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return true, adopt(path, f)
}

// Verify checks a saved file with redis-check-rdb, if that program is here.
func (*Redis) Verify(ctx context.Context, path string) error {
	ctx, cancel := limited(ctx, 0)
	defer cancel()
	return checkRDB(ctx, path)
}
