package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/shivx/shivx"
)

// segment is one file of the ledger. The active one has the ledger's own path; a sealed one is
// named <stem>.<first seq>-<last seq>.ndjson, so that a file that is missing shows by its name.
type segment struct {
	path        string
	first, last uint64
	sealed      bool
}

const seqDigits = 12

func splitPath(path string) (dir, stem, ext string) {
	dir, file := filepath.Split(path)
	ext = filepath.Ext(file)
	return filepath.Clean(dir), strings.TrimSuffix(file, ext), ext
}

// ledgerName is the name under which heads are signed.
func ledgerName(path string) string {
	_, stem, _ := splitPath(path)
	return stem
}

func sealedPath(path string, first, last uint64) string {
	dir, stem, ext := splitPath(path)
	return filepath.Join(dir, fmt.Sprintf("%s.%0*d-%0*d%s", stem, seqDigits, first, seqDigits, last, ext))
}

// sealedSegments lists the sealed segments in the order of their first records.
func sealedSegments(path string) ([]segment, error) {
	dir, stem, ext := splitPath(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list ledger segments: %w", err)
	}
	var segs []segment
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), stem+".")
		if !ok || !strings.HasSuffix(middle, ext) {
			continue
		}
		a, b, ok := strings.Cut(strings.TrimSuffix(middle, ext), "-")
		first, err1 := parseSeq(a)
		last, err2 := parseSeq(b)
		if !ok || err1 != nil || err2 != nil {
			continue
		}
		segs = append(segs, segment{path: filepath.Join(dir, e.Name()), first: first, last: last, sealed: true})
	}
	sort.Slice(segs, func(i, j int) bool {
		if segs[i].first != segs[j].first {
			return segs[i].first < segs[j].first
		}
		return segs[i].last < segs[j].last
	})
	return segs, nil
}

func parseSeq(s string) (uint64, error) {
	if len(s) < seqDigits {
		return 0, errors.New("not a sequence number")
	}
	return strconv.ParseUint(s, 10, 64)
}

// openSegment is a segment with its file and the size it had when it was opened.
type openSegment struct {
	segment
	file *os.File
	size int64
}

// openSegments opens all segments in order, as a snapshot that holds while a writer goes on. The
// active file is opened first: if it is sealed in between it is found again under its new name.
func openSegments(path string) (segs []openSegment, err error) {
	defer func() {
		if err != nil {
			closeSegments(segs)
		}
	}()
	active, err := openActive(path)
	if err != nil {
		return nil, err
	}
	if active != nil {
		segs = append(segs, openSegment{segment: segment{path: path}, file: active})
	}
	sealed, err := sealedSegments(path)
	if err != nil {
		return segs, err
	}
	if active == nil && len(sealed) == 0 {
		return segs, shivx.Hint(fmt.Errorf("open ledger %s: %w", path, fs.ErrNotExist), "check the path; a ledger is created by its first writer")
	}
	var all []openSegment
	for _, s := range sealed {
		f, err := os.Open(s.path)
		if err != nil {
			closeSegments(all)
			return segs, fmt.Errorf("open ledger segment: %w", err)
		}
		if active != nil && sameFile(active, f) {
			_ = active.Close()
			active, segs = nil, nil
		}
		all = append(all, openSegment{segment: s, file: f})
	}
	segs = append(all, segs...)
	for i := range segs {
		info, err := segs[i].file.Stat()
		if err != nil {
			return segs, fmt.Errorf("open ledger segment: %w", err)
		}
		segs[i].size = info.Size()
	}
	return segs, nil
}

// openActive opens the active file. It is away for a moment while a writer rotates, and for
// longer when a writer was killed in that moment; then nil is returned.
func openActive(path string) (*os.File, error) {
	for try := 0; ; try++ {
		f, err := os.Open(path)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("open ledger: %w", err)
		}
		if try == 5 {
			return nil, nil
		}
		time.Sleep(time.Millisecond)
	}
}

func closeSegments(segs []openSegment) {
	for _, s := range segs {
		_ = s.file.Close()
	}
}

func sameFile(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
