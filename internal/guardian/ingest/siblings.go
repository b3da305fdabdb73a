package ingest

import (
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// place is a folder and the name that a log has in it.
type place struct{ folder, name string }

// placesOf are where a path stands and, when it is a link, where it leads.
func placesOf(path string) []place {
	all := []place{{filepath.Dir(path), filepath.Base(path)}}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		if p := (place{filepath.Dir(target), filepath.Base(target)}); p != all[0] {
			all = append(all, p)
		}
	}
	return all
}

// sibling is a file beside the log, or the log itself.
type sibling struct {
	path string
	id   identity
	size int64
	// modified in nanoseconds since 1970.
	modified int64
	// related is set when the name begins like the log's; age says when a rotated file was rotated.
	related bool
	age     age
	// packed files can only be asked for their size.
	packed bool
}

// siblings of the log, all files of its folders or those alone whose names begin like its own. A rotation
// may be under way: they are listed until two listings agree on which file has which name.
func siblings(path string, related bool) []sibling {
	same := func(a, b sibling) bool { return a.id == b.id && a.path == b.path }
	was := listSiblings(path, related)
	for range listings {
		is := listSiblings(path, related)
		if slices.EqualFunc(was, is, same) {
			break
		}
		was = is
	}
	return was
}

func listSiblings(path string, related bool) []sibling {
	var all []sibling
	for _, p := range placesOf(path) {
		entries, err := os.ReadDir(p.folder)
		if err != nil {
			continue // the path cannot be opened either, and that is told
		}
		for _, e := range entries {
			akin := strings.HasPrefix(e.Name(), strings.TrimSuffix(p.name, filepath.Ext(p.name)))
			if related && !akin {
				continue
			}
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			s := sibling{path: filepath.Join(p.folder, e.Name()), id: identify(info), size: info.Size(), modified: info.ModTime().UnixNano(), related: akin}
			s.age, s.packed = ageOf(p.name, e.Name())
			all = append(all, s)
		}
	}
	return all
}

// age orders the rotated files of a log by their names. The zero age is that of a name that says
// nothing; only ages of one kind can be compared.
type age struct {
	// number counts the rotations since: name.1 is newer than name.2. From 1.
	number int
	// date is when it was rotated, in digits: name-20260131.
	date string
}

// longestNumber of a rotation; more digits are a date.
const longestNumber = 4

// ageOf reads the age in the name of a rotated file: LOG.1, LOG-20260131, STEM-20260131.EXT, each also
// with the ending of a packer.
func ageOf(log, name string) (age, bool) {
	packed := false
	for _, ending := range []string{".gz", ".xz", ".zst", ".bz2", ".Z"} {
		if cut, is := strings.CutSuffix(name, ending); is {
			name, packed = cut, true
		}
	}
	ext := filepath.Ext(log)
	mark, is := strings.CutPrefix(name, log)
	if !is {
		mark, is = strings.CutPrefix(name, strings.TrimSuffix(log, ext))
		mark = strings.TrimSuffix(mark, ext)
	}
	if !is || len(mark) < 2 || mark[0] != '.' && mark[0] != '-' || strings.Trim(mark[1:], "0123456789-_.:T") != "" {
		return age{}, false
	}
	mark = mark[1:]
	if n, err := strconv.Atoi(mark); err == nil && len(mark) <= longestNumber && n > 0 {
		return age{number: n}, packed
	}
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, mark)
	if len(digits) <= longestNumber {
		return age{}, false
	}
	return age{date: digits}, packed
}

// compare is positive when a is newer than b; ok says whether that can be told.
func (a age) compare(b age) (order int, ok bool) {
	switch {
	case a.number > 0 && b.number > 0:
		return cmp.Compare(b.number, a.number), true
	case a.date != "" && b.date != "":
		return cmp.Compare(a.date, b.date), true
	}
	return 0, false
}

// unpacked returns the size of a gzip file's content, as its end says it, and how the content begins.
func unpacked(path string) (int64, []byte, error) {
	t, err := openTail(path) // it never waits, whatever stands there by now
	if err != nil {
		return 0, nil, err
	}
	defer t.close()
	f := t.f
	z, err := gzip.NewReader(f)
	if err != nil {
		return 0, nil, err
	}
	head, err := io.ReadAll(io.LimitReader(z, headSize))
	if err != nil {
		return 0, nil, err
	}
	if _, err := f.Seek(-4, io.SeekEnd); err != nil {
		return 0, nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(f, size[:]); err != nil {
		return 0, nil, err
	}
	return int64(binary.LittleEndian.Uint32(size[:])), head, nil
}
