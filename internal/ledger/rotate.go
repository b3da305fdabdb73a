package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// rotate seals the active file under its range of records and begins the next. A crash between
// the two steps leaves no active file; Open and the readers take that as an empty one.
func (l *Ledger) rotate() {
	active := l.segs[len(l.segs)-1]
	sealed := segment{path: sealedPath(l.path, active.first, l.seq), first: active.first, last: l.seq, sealed: true}
	if err := l.seal(sealed); err != nil {
		l.rotateAt = l.off + l.opts.MaxBytes/8 + 1
		l.log.Error("the ledger could not be rotated; it goes on in the same file", "error", err,
			"hint", shivx.HintOf(writeHint(err)))
		return
	}
	l.off, l.lastLen, l.rotateAt = 0, 0, l.opts.MaxBytes
	next, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err == nil {
		err = syncDir(l.path)
	}
	if err != nil {
		if next != nil {
			_ = next.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			l.broken = fmt.Errorf("rotate: %w", err)
		}
		return
	}
	_ = l.file.Close()
	l.file = next
	l.signer.wake()
}

// seal renames the active file. Find holds the lock while it reads, so that it never looks for a
// record under the name the file had before.
func (l *Ledger) seal(as segment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := unix.Renameat2(unix.AT_FDCWD, l.path, unix.AT_FDCWD, as.path, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	l.segs[len(l.segs)-1] = as
	l.segs = append(l.segs, segment{path: l.path})
	return nil
}
