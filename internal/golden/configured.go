package golden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/signing"
	"github.com/shivx/shivx/internal/golden/source"
	"github.com/shivx/shivx/internal/golden/store"
)

// home is the engine's folder below paths.var, pinName the file in it that remembers the store.
const (
	home    = signing.Home
	pinName = "store.json"
)

// Unpinned has an engine take any store, and remember none: that of a command which names the store.
func Unpinned(o *Options) { o.Pin = "" }

// Configured returns the engine of a configuration. It makes nothing and asks no server.
func Configured(cfg *config.Config, log *slog.Logger, change ...func(*Options)) (*Engine, error) {
	g := cfg.Golden
	o := Options{Host: cfg.Host, Dir: filepath.Join(cfg.Paths.Var, home), Logger: log, Parity: g.Parity}
	o.Pin = filepath.Join(o.Dir, pinName)
	var warned sync.Once
	o.Backend = func(ctx context.Context, create bool) (store.Backend, error) {
		b, err := backend(ctx, g.Store, o.Dir, create, log)
		if f, ok := b.(*store.Folder); ok && err == nil {
			warned.Do(func() { warnOfRemote(f, log) })
		}
		return b, err
	}
	o.Stay = []string{cfg.Paths.Var}
	for _, path := range ledgersOf(cfg) {
		o.Stay = append(o.Stay, filepath.Dir(path)) // they are written to meanwhile
	}
	if g.Store.Path != "" {
		o.Protect = []string{g.Store.Path}
	}
	if g.Encryption != nil {
		o.Keys = func() ([]age.Recipient, []age.Identity, error) { return encryption(*g.Encryption) }
	}
	var err error
	if o.Trusted, err = signing.ParseKeys(g.TrustedKeys); err != nil {
		return nil, fmt.Errorf("golden.trusted_keys: %w", err)
	}
	for _, s := range g.Sets {
		set, err := setOf(cfg, s)
		if err != nil {
			return nil, fmt.Errorf("golden set %s: %w", s.Name, err)
		}
		o.Sets = append(o.Sets, set)
	}
	for _, c := range change {
		c(&o)
	}
	return New(o), nil
}

// warnOfRemote says when several hosts must not share a folder.
func warnOfRemote(f *store.Folder, log *slog.Logger) {
	if kind := f.Remote(); kind != "" {
		log.Warn("the golden store lies on a network file system, which may not carry locks to other hosts: only this host must use it; for several use an S3 store",
			"path", f.String(), "file_system", kind)
	}
}

func backend(ctx context.Context, s config.GoldenStore, dir string, create bool, log *slog.Logger) (store.Backend, error) {
	if s.S3 == nil {
		open := store.OpenFolder
		if create {
			open = store.MakeFolder
		}
		f, err := open(s.Path)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	o := store.S3Options{Endpoint: s.S3.Endpoint, Bucket: s.S3.Bucket, Prefix: s.S3.Prefix, Region: s.S3.Region, PathStyle: true,
		TempDir: filepath.Join(dir, "uploads"), Lock: store.LockOptions{Log: log}, Log: log}
	var err error
	if o.AccessKey, err = config.Resolve(s.S3.AccessKey); err != nil {
		return nil, notAbsent(err)
	}
	if o.SecretKey, err = config.Resolve(s.S3.SecretKey); err != nil {
		return nil, notAbsent(err)
	}
	if s.S3.CA != "" {
		if o.CA, err = os.ReadFile(s.S3.CA); err != nil {
			return nil, notAbsent(fmt.Errorf("read golden.store.s3.ca: %w", err))
		}
	}
	if err := os.MkdirAll(o.TempDir, 0o700); err != nil {
		return nil, err
	}
	return store.OpenS3(ctx, o)
}

// absentError is the error for a file that is not there and is not the store: it is no fs.ErrNotExist, by which a
// store says that nothing was stored yet.
type absentError struct{ error }

// notAbsent makes errors of files such as an identity none of the store.
func notAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return shivx.Hint(absentError{err}, shivx.HintOf(err))
	}
	return err
}

func encryption(e config.GoldenEncryption) ([]age.Recipient, []age.Identity, error) {
	var recipients []age.Recipient
	if len(e.Recipients) > 0 { // who only reads a store needs none
		var err error
		if recipients, err = age.ParseRecipients(strings.NewReader(strings.Join(e.Recipients, "\n"))); err != nil {
			return nil, nil, fmt.Errorf("golden.encryption.recipients: %w", err)
		}
	}
	text, err := config.Resolve(e.Identity)
	if err != nil {
		return nil, nil, fmt.Errorf("golden.encryption.identity: %w", notAbsent(err))
	}
	identities, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return nil, nil, shivx.Hint(fmt.Errorf("golden.encryption.identity: %w", err), "make one with age-keygen")
	}
	return recipients, identities, nil
}

// ledgersOf are the paths of our own audit logs.
func ledgersOf(cfg *config.Config) []string {
	var paths []string
	for _, name := range []string{config.OperationalLedger, config.ResilienceAudit, config.GuardianAudit} {
		paths = append(paths, filepath.Join(cfg.Paths.Var, name))
	}
	return paths
}

// setOf joins what a set names itself with what it takes from the rest of the configuration.
func setOf(cfg *config.Config, s config.GoldenSet) (Set, error) {
	set := Set{Name: s.Name, Paths: slices.Clone(s.Paths), Exclude: slices.Clone(s.Exclude)}
	if s.States {
		for _, c := range cfg.Components {
			set.Paths = append(set.Paths, c.State.Paths...)
			set.Exclude = append(set.Exclude, c.State.Globs()...)
		}
	}
	if s.Ledgers {
		set.Ledgers = ledgersOf(cfg)
		made, err := source.NewLedgers(ledgersSource, source.LedgersOptions{Paths: set.Ledgers, At: ledgersAt})
		if err != nil {
			return set, err
		}
		set.Sources = append(set.Sources, made)
	}
	for _, src := range s.Sources {
		made, err := source.New(src)
		if err != nil {
			return set, err
		}
		set.Sources = append(set.Sources, made)
		if c := src.Command; c != nil {
			set.Paths = append(set.Paths, c.Paths...)
		}
	}
	// What a restore itself works with is left in place by it.
	if p := cfg.Golden.Store.Path; p != "" {
		set.Exclude = append(set.Exclude, source.GlobQuote(p))
	}
	for _, own := range []string{"exports", "joins", "restores", "unrecorded", signing.Name, pinName} {
		set.Exclude = append(set.Exclude, source.GlobQuote(filepath.Join(cfg.Paths.Var, home, own)))
	}
	// The agent writes to its ledgers meanwhile, and their keys are for nobody else.
	for _, path := range ledgersOf(cfg) {
		set.Exclude = append(set.Exclude, source.GlobQuote(strings.TrimSuffix(path, filepath.Ext(path)))+".*")
	}
	set.Validations = s.Validate
	set.Keep = store.Policy{Last: s.Keep.Last, Daily: s.Keep.Daily, Weekly: s.Keep.Weekly, Monthly: s.Keep.Monthly,
		MinAge: time.Duration(s.Keep.ImmutableDays) * 24 * time.Hour, Zone: time.Local}
	set.Snapshots = store.Policy{Last: s.Snapshots.Last, MaxAge: s.Snapshots.MaxAge, Zone: time.Local}
	return set, nil
}
