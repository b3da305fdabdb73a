// Package ledger is an append-only record file that shows tampering.
//
// A ledger is a file of JSON lines. Each record holds the hash of the one before and, last, its
// own hash over the exact stored bytes before it; nothing is re-encoded to check it. From time to
// time the newest hash is signed as a Head, with an Ed25519 key that is replaced by the next and
// erased at each signature, so that a stolen key cannot re-sign the past. Heads kept elsewhere (a
// witness) make a whole rewrite, and an old copy put back, visible too. The format is described
// in docs/LEDGER-FORMAT.md.
//
// One committer goroutine writes: it takes whatever is queued, writes it at once and waits for
// one fdatasync; an append returns when its record is on disk. Files rotate by size and the chain
// goes on. One process writes, held by a lock; any number may read, verify and follow.
package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shivx/shivx/internal/durable"
)

// Errors that callers tell apart.
var (
	// ErrLocked: another process, or another Ledger of this one, writes here.
	ErrLocked = errors.New("ledger is locked")
	// ErrClosed: the ledger was closed.
	ErrClosed = errors.New("ledger is closed")
	// ErrDamaged: a stored line is not the record it should be; Verify tells more.
	ErrDamaged = errors.New("ledger is damaged")
)

// Options of Open. The zero value is usable.
type Options struct {
	// MaxBytes is the size at which a file is sealed and the next begun; default 64 MiB.
	MaxBytes int64
	// HeadEvery is the longest time a record stays unsigned; default 10s.
	HeadEvery time.Duration
	// HeadRecords signs a head after that many records, if that comes first; default 1024.
	HeadRecords int
	// Now is the clock of the times in heads and notices; default time.Now.
	Now func() time.Time
	// Logger gets what nobody is there to be told; default slog.Default().
	Logger *slog.Logger
	// OnHead is called with each new head, in order, to hand it to a witness. It must not block
	// for long and must not call Sign or Close.
	OnHead func(Head)

	// fdatasync is replaced by tests that need it to fail.
	fdatasync func(*os.File) error
	// step is told by tests of every point of a join at which a kill may matter.
	step func(point string)
}

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.HeadEvery <= 0 {
		o.HeadEvery = 10 * time.Second
	}
	if o.HeadRecords <= 0 {
		o.HeadRecords = 1024
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.fdatasync == nil {
		o.fdatasync = fdatasync
	}
	if o.step == nil {
		o.step = func(string) {}
	}
	return o
}

// Ledger is an open ledger; its methods may be called from many goroutines.
type Ledger struct {
	path string
	opts Options
	log  *slog.Logger
	lock *os.File

	queue queue

	// mu guards what the committer publishes: everything below is on disk.
	mu    sync.RWMutex
	segs  []segment
	index map[keyID]location
	seq   uint64
	hash  [hashHex]byte
	grown chan struct{} // closed and replaced whenever seq grows
	ended bool

	// Owned by the committer.
	file     *os.File
	off      int64
	lastLen  int // of the last line in file, 0 when it is no record
	out      []byte
	broken   error
	rotateAt int64
	done     chan struct{}
	// writing is when the batch being written was begun, in nanoseconds since opened; 0: none is.
	writing atomic.Int64
	opened  time.Time

	signer signer
}

// zeroHash stands for the hash before the first record.
var zeroHash = func() (h [hashHex]byte) {
	hex.Encode(h[:], make([]byte, 32))
	return h
}()

// Open opens the ledger at path for writing and creates it if it does not exist. It takes the
// writer's lock, ends a Join that a crash cut off, moves a line torn by a crash aside, and reads all
// records to know their keys.
// A ledger that was tampered with is opened all the same, since recovery must go on; the chain is
// continued from the last record or signed head, so that Verify keeps reporting the damage.
func Open(path string, o Options) (l *Ledger, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	o = o.withDefaults()
	l = &Ledger{
		path: path, opts: o, log: o.Logger.With("ledger", path), lock: lock,
		index: map[keyID]location{}, hash: zeroHash, grown: make(chan struct{}), done: make(chan struct{}),
		opened: time.Now(),
	}
	l.queue.init()
	opened := l // l is nil where an error is returned
	defer func() {
		if err != nil {
			opened.release()
		}
	}()
	joined, err := finishJoin(path, o.step)
	if err != nil {
		return nil, err
	}
	torn, err := l.load()
	if err != nil {
		return nil, err
	}
	fresh, err := l.loadKey()
	if err != nil {
		return nil, err
	}
	go l.commitLoop()
	l.startSigner()
	l.notices(torn, fresh)
	if joined != nil {
		l.endJoin(context.Background(), joined)
	}
	return l, nil
}

// notices records what Open found and signs the first head of a new key. The ledger works without
// them, for example while the disk is full, so that a failure is only logged.
func (l *Ledger) notices(torn *tornLine, fresh genesisState) {
	ctx := context.Background()
	if torn != nil {
		l.note(ctx, "ledger.torn_tail", torn)
	}
	if fresh == genesisReplaced {
		l.note(ctx, "ledger.new_genesis", map[string]string{"reason": "the signing key was lost", "genesis": l.Genesis()})
	}
	if fresh != genesisKept {
		if _, err := l.Sign(ctx); err != nil {
			l.log.Error("the first head could not be signed; it is tried again", "error", err)
		}
	}
}

// notice is a record of the ledger's own.
type notice struct {
	Timestamp time.Time `json:"timestamp"`
	EventType string    `json:"event_type"`
	Severity  string    `json:"severity"`
	Details   any       `json:"details"`
}

// note appends a notice.
func (l *Ledger) note(ctx context.Context, event string, details any) {
	n := notice{Timestamp: l.opts.Now().UTC(), EventType: event, Severity: "warning", Details: details}
	if _, err := l.Append(ctx, "", n); err != nil {
		l.log.Error("a notice could not be recorded", "event", event, "details", details, "error", err)
	}
}

// Last returns the sequence number and the hash of the newest record on disk; 0 and 64 zeros at first.
func (l *Ledger) Last() (uint64, string) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.seq, string(l.hash[:])
}

// Close waits for what is queued, signs a last head and gives the lock back.
func (l *Ledger) Close() error {
	if !l.queue.close() {
		return ErrClosed
	}
	<-l.done
	l.stopSigner()
	_, err := l.Sign(context.Background())
	l.mu.Lock()
	l.ended = true
	close(l.grown)
	l.mu.Unlock()
	l.signer.forget()
	l.release()
	if err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

func (l *Ledger) release() {
	if l.file != nil {
		_ = l.file.Close()
	}
	_ = durable.Unlock(l.lock)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
