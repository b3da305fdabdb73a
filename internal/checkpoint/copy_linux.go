package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const blockSize = 1 << 20

var (
	blocks = sync.Pool{New: func() any { b := make([]byte, blockSize); return &b }}
	zeros  = make([]byte, blockSize)
)

// copied is what a copy turned out to be.
type copied struct {
	size int64
	sum  string
}

// copyContent copies src to a new file dst and hashes what is stored. On file systems that
// share blocks nothing is copied at all; holes stay holes.
func copyContent(ctx context.Context, src *os.File, dst string, m *meter) (copied, error) {
	out, err := os.OpenFile(dst, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return copied{}, err
	}
	var c copied
	if unix.IoctlFileClone(int(out.Fd()), int(src.Fd())) == nil {
		c, err = pump(ctx, out, nil, false, m)
	} else {
		var st unix.Stat_t
		if err := unix.Fstat(int(src.Fd()), &st); err != nil {
			return copied{}, errors.Join(err, out.Close())
		}
		c, err = pump(ctx, src, out, st.Blocks*512 < st.Size, m)
	}
	return c, errors.Join(err, out.Close())
}

// hashFile hashes a file to its end.
func hashFile(ctx context.Context, f *os.File, m *meter) (copied, error) {
	return pump(ctx, f, nil, false, m)
}

// pump hashes src and, when dst is set, writes it there; blocks of zeros of a sparse file become holes.
func pump(ctx context.Context, src io.Reader, dst *os.File, sparse bool, m *meter) (copied, error) {
	buf := blocks.Get().(*[]byte)
	defer blocks.Put(buf)
	h, size := sha256.New(), int64(0)
	for {
		if ctx.Err() != nil {
			return copied{}, ctx.Err()
		}
		n, err := io.ReadFull(src, *buf)
		part := (*buf)[:n]
		if werr := put(dst, h, part, sparse); werr != nil {
			return copied{}, werr
		}
		size += int64(n)
		m.add(int64(n))
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return copied{}, err
		}
	}
	if dst != nil && sparse {
		if err := dst.Truncate(size); err != nil {
			return copied{}, err
		}
	}
	return copied{size: size, sum: hex.EncodeToString(h.Sum(nil))}, nil
}

func put(dst *os.File, h hash.Hash, part []byte, sparse bool) error {
	_, _ = h.Write(part)
	if dst == nil || len(part) == 0 {
		return nil
	}
	if sparse && bytes.Equal(part, zeros[:len(part)]) {
		_, err := dst.Seek(int64(len(part)), io.SeekCurrent)
		return err
	}
	_, err := dst.Write(part)
	return err
}

// openRegular opens a file for reading without following a link and without waiting on a pipe.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("open %s: no longer a regular file", path), f.Close())
	}
	return f, nil
}

// readXAttrs returns the extended attributes of path, none where the file system has none.
func readXAttrs(path string) map[string][]byte {
	size, err := unix.Llistxattr(path, nil)
	if err != nil || size == 0 {
		return nil
	}
	names := make([]byte, size)
	if size, err = unix.Llistxattr(path, names); err != nil {
		return nil
	}
	attrs := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:size]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(path, name, nil)
		if err != nil || n > 64<<10 {
			continue
		}
		value := make([]byte, n)
		if n, err = unix.Lgetxattr(path, name, value); err == nil {
			attrs[name] = value[:n]
		}
	}
	if len(attrs) == 0 {
		return nil
	}
	return attrs
}

// dress gives path the owner, mode, attributes and times of f. Owner comes before mode,
// because a change of owner clears the set-user-id bit.
func dress(path string, f File) error {
	if err := unix.Lchown(path, f.UID, f.GID); err != nil {
		return fmt.Errorf("set the owner of %s: %w", path, err)
	}
	for name, value := range f.XAttrs {
		if err := unix.Lsetxattr(path, name, value, 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set attribute %s of %s: %w", name, path, err)
		}
	}
	if f.Type != TypeSymlink {
		if err := unix.Chmod(path, f.Mode&0o7777); err != nil {
			return fmt.Errorf("set the mode of %s: %w", path, err)
		}
	}
	ts := unix.NsecToTimespec(f.ModTime.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set the times of %s: %w", path, err)
	}
	return nil
}

// syncFew is the number of entries up to which each is synced by itself: quicker than
// waiting for everything else that the file system has to write.
const syncFew = 32

// syncTree makes all below root durable.
func syncTree(root string, entries int) error {
	if entries <= syncFew {
		return filepath.Walk(root, func(p string, info os.FileInfo, err error) error {
			if err != nil || (!info.IsDir() && !info.Mode().IsRegular()) {
				return err
			}
			return syncPath(p)
		})
	}
	f, err := os.Open(root)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// syncPath makes one file or folder durable.
func syncPath(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// meter counts bytes of all workers and passes them on, at most every 50 ms.
type meter struct {
	mu          sync.Mutex
	done, total int64
	last        time.Time
	report      func(done, total int64)
}

const reportEvery = 50 * time.Millisecond

func newMeter(total int64, report func(done, total int64)) *meter {
	return &meter{total: total, report: report}
}

func (m *meter) add(n int64) {
	if m == nil || m.report == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	m.total = max(m.total, m.done)
	if now := time.Now(); now.Sub(m.last) >= reportEvery {
		m.last = now
		m.report(m.done, m.total)
	}
}

// grow raises the total.
func (m *meter) grow(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total += n
}

// finish reports the end.
func (m *meter) finish() {
	if m.report != nil {
		m.report(m.done, m.done)
	}
}
