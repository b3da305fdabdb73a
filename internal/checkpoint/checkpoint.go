// Package checkpoint keeps copies of a component's state, so that a fault can be studied and undone, and so
// that data can be restored from the last healthy copy.
//
// A checkpoint is a golden: this package names sets, counts and judges, and leaves reading, storing and putting
// back to internal/golden. All checkpoints of a host lie in one store below paths.var, which keeps equal data
// once, so that a checkpoint costs what has changed since the one before. A component has a set for each kind,
// such as redis.healthy. The store is not encrypted, whatever golden.encryption says: it lies beside the live
// files, for as long as they do, and is signed with the host's key.
package checkpoint

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/golden/capture"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/signing"
	"github.com/shivx/shivx/internal/golden/store"
)

// Kind says when a checkpoint was taken.
type Kind string

// The kinds.
const (
	// KindFault is taken before a recovery.
	KindFault Kind = "fault"
	// KindHealthy is taken while all checks passed.
	KindHealthy Kind = "healthy"
)

// Checkpoint is one copy of a component's state.
type Checkpoint struct {
	// ID is SET/GOLDEN, as the commands of shivx golden take it: redis.fault/20261123-135531-7f3a9c.
	ID        string
	Component string
	Kind      Kind
	Key       string
	Taken     time.Time
	// Paths are the state paths it covers, clean, in order, none inside another.
	Paths []string
	// Exclude are the glob patterns on absolute paths that were left out.
	Exclude []string
	// Entries counts files, folders and links, Bytes the sizes of the files.
	Entries, Bytes int64
	// Unstable lists files that changed during each reading.
	Unstable []string
	// Missing lists state paths that did not exist.
	Missing []string
	// Skipped lists what it does not hold: sockets, devices, and in one of a fault what could not be read.
	Skipped []string
	// Lacking lists those of Skipped that are part of the state, such as what could not be read. A restore leaves
	// them as they are.
	Lacking []string

	// number counts the checkpoints of a set. The newest has the highest one, whatever the clock said.
	number int
}

// Options of Open.
type Options struct {
	// Var is paths.var of the configuration.
	Var string
	// Host is the agent's name; "": localhost.
	Host string
	// Trusted are public keys, base64, whose checkpoints are believed beside those of the host's own key.
	Trusted []string
	// Logger; nil: none.
	Logger *slog.Logger
}

// Store holds the checkpoints of one agent. Its methods may be called by many goroutines and processes at once.
type Store struct {
	home, keys string
	host       string
	trusted    []ed25519.PublicKey
	log        *slog.Logger

	mu sync.Mutex
	// removing and repacking bound the two parts of a prune.
	removing, repacking bound
	// repacked is when this process last wrote data anew, or found that there was none.
	repacked time.Time
}

// Folders below <var>/checkpoints.
const (
	storeDir   = "store"
	journalDir = "journals"
	lockDir    = "locks"
	viewDir    = "views"
)

// Dir is the folder of the store of checkpoints below paths.var, which people give to shivx golden as --store.
// Tests of other packages find it by this.
func Dir(vars string) string { return filepath.Join(vars, "checkpoints", storeDir) }

// Open opens the store, and makes its folder. Nothing is kept open meanwhile.
func Open(o Options) (*Store, error) {
	abs, err := filepath.Abs(o.Var)
	if err != nil {
		return nil, fmt.Errorf("open the checkpoints: %w", err)
	}
	s := &Store{
		home: filepath.Join(abs, "checkpoints"), keys: filepath.Join(abs, signing.Home), host: o.Host, log: o.Logger,
		removing: bound{first: mostRemoving}, repacking: bound{first: mostRepacking},
	}
	if s.host == "" {
		s.host = "localhost"
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.trusted, err = signing.ParseKeys(o.Trusted); err != nil {
		return nil, fmt.Errorf("open the checkpoints: %w", err)
	}
	for _, d := range []string{storeDir, journalDir, lockDir, viewDir} {
		if err := os.MkdirAll(filepath.Join(s.home, d), 0o700); err != nil {
			return nil, fmt.Errorf("open the checkpoints: %w", err)
		}
	}
	s.findOld()
	return s, nil
}

// findOld tells of checkpoints of the first layout, which are left alone.
func (s *Store) findOld() {
	old, err := filepath.Glob(filepath.Join(escapeGlob(s.home), "*", "*", "manifest.json"))
	if err != nil || len(old) == 0 {
		return
	}
	var folders []string
	for _, path := range old {
		folders = append(folders, filepath.Dir(filepath.Dir(path)))
	}
	s.log.Warn("checkpoints of an earlier layout are not used any more; remove them when you need them no longer",
		"folders", slices.Compact(folders))
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// opened is the golden store while it is used.
type opened struct {
	*store.Store
	folder *store.Folder
}

func (o opened) Close() { _ = errors.Join(o.Store.Close(), o.folder.Close()) }

// open opens the golden store, and makes it and the key at the first time.
func (s *Store) open(ctx context.Context) (opened, error) {
	key, err := signing.Key(s.keys, true)
	if err != nil {
		return opened{}, err
	}
	folder, err := store.MakeFolder(filepath.Join(s.home, storeDir))
	if err != nil {
		return opened{}, err
	}
	o := s.options(key)
	g, err := store.Open(ctx, folder, o)
	if errors.Is(err, fs.ErrNotExist) {
		if g, err = store.Create(ctx, folder, o); err != nil {
			// Another one may have made it meanwhile.
			if again, openErr := store.Open(ctx, folder, o); openErr == nil {
				g, err = again, nil
			}
		}
	}
	if err != nil {
		return opened{}, errors.Join(err, folder.Close())
	}
	return opened{g, folder}, nil
}

func (s *Store) options(key ed25519.PrivateKey) store.Options {
	return store.Options{Key: key, Trusted: s.trusted, Log: s.log}
}

// look opens the golden store for those who need what is in it; the error wraps fs.ErrNotExist when there is
// none yet. Nothing is made: a full disk must not keep anybody from reading.
func (s *Store) look(ctx context.Context) (opened, error) {
	key, err := signing.Key(s.keys, false)
	if err != nil {
		return opened{}, err
	}
	dir := filepath.Join(s.home, storeDir)
	folder, err := store.OpenFolder(dir)
	if err != nil {
		return opened{}, err
	}
	g, err := store.Open(ctx, folder, s.options(key))
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Stat(filepath.Join(dir, "goldens")); there == nil {
			err = fmt.Errorf("%w: %s holds checkpoints and is no store any more", ErrDamaged, dir)
		}
	}
	if err != nil {
		return opened{}, errors.Join(err, folder.Close())
	}
	return opened{g, folder}, nil
}

// Errors that a caller may have to tell apart.
var (
	// ErrDamaged is wrapped by every error that says a checkpoint is not what it was when taken.
	ErrDamaged = format.ErrDamaged
	// ErrNothing says that none of the state paths exists: a checkpoint of nothing would only pretend that
	// there is something to go back to.
	ErrNothing = errors.New("there is no state to keep")
)

var componentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,90}$`)

func checkName(component string, kind Kind) error {
	if !componentName.MatchString(component) {
		return fmt.Errorf("%q cannot be the name of a component; use letters, digits, '-', '_' and '.'", component)
	}
	if kind != KindFault && kind != KindHealthy {
		return fmt.Errorf("unknown kind of checkpoint %q; use %q or %q", kind, KindFault, KindHealthy)
	}
	return nil
}

// setOf names the golden set of a component's checkpoints of a kind.
func setOf(component string, kind Kind) string { return component + "." + string(kind) }

func parseSet(set string) (component string, kind Kind, err error) {
	dot := strings.LastIndexByte(set, '.')
	if dot < 0 {
		return "", "", fmt.Errorf("%q is not the set of a component's checkpoints", set)
	}
	component, kind = set[:dot], Kind(set[dot+1:])
	return component, kind, checkName(component, kind)
}

func checkID(id string) error {
	set, golden, ok := strings.Cut(id, "/")
	if _, _, err := parseSet(set); !ok || err != nil || format.CheckName(golden) != nil {
		return fmt.Errorf("%q is not the id of a checkpoint", id)
	}
	return nil
}

// of is the checkpoint that a golden is.
func of(h *format.Header) (Checkpoint, error) {
	component, kind, err := parseSet(h.Set)
	if err != nil {
		return Checkpoint{}, err
	}
	c := Checkpoint{
		ID: h.Set + "/" + h.ID, Component: component, Kind: kind, Key: h.Run, Taken: h.Created, Paths: h.Roots, Exclude: h.Exclude,
		Entries: h.Entries, Bytes: h.Bytes, Unstable: pathsOf(h.Unstable), Missing: h.Missing, Skipped: pathsOf(h.Skipped),
	}
	for _, n := range h.Skipped {
		if n.Why != capture.Socket && n.Why != capture.Device {
			c.Lacking = append(c.Lacking, n.Path)
		}
	}
	c.number, _ = strconv.Atoi(h.Name) // 0 for a golden that somebody else has put here
	return c, nil
}

func pathsOf(notes []format.Note) []string {
	var paths []string
	for _, n := range notes {
		paths = append(paths, n.Path)
	}
	return paths
}

// hinted passes an error of the golden store on, with a hint that fits a checkpoint.
func hinted(err error) error {
	if errors.Is(err, ErrDamaged) {
		return shivx.Hint(err, "restore from another checkpoint; this one was changed on disk after it was taken")
	}
	return err
}
