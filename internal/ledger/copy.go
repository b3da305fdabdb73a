package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CopyTo puts a copy of the ledger at path into the folder dir, under the same names: all its records
// and signed heads of one moment, each of them whole, and never the key. It needs no lock and works
// beside a writer. Sealed files, which do not change any more, become links where the file system
// allows it. It returns how many files it made; none, where there is no ledger.
func CopyTo(path, dir string) (int, error) {
	// Heads are read before the records: whatever they cover is then surely in the copy.
	heads, err := wholeLines(path + ".heads")
	if err != nil {
		return 0, fmt.Errorf("copy ledger: %w", err)
	}
	segs, err := openSegments(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("copy ledger: %w", err)
	}
	defer closeSegments(segs)
	n := 0
	for _, s := range segs {
		to := filepath.Join(dir, filepath.Base(s.path))
		if s.sealed && os.Link(s.path, to) == nil {
			n++
			continue
		}
		if err := copySegment(s, to); err != nil {
			return n, fmt.Errorf("copy ledger: %w", writeHint(err))
		}
		n++
	}
	if len(heads) == 0 {
		return n, nil
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)+".heads"), heads, 0o640); err != nil {
		return n, fmt.Errorf("copy ledger: %w", writeHint(err))
	}
	return n + 1, nil
}

// copySegment copies the whole lines that an open file had when it was opened.
func copySegment(s openSegment, to string) (err error) {
	end, err := lastNewline(s.file, s.size)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, io.NewSectionReader(s.file, 0, end))
	return err
}

// wholeLines reads a file up to its last newline; one that is missing is empty.
func wholeLines(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return data[:bytes.LastIndexByte(data, '\n')+1], nil
}

// keepBeside puts a copy of a ledger into a folder beside the one at path, and returns the folder. One
// of that name that is there already is whole.
func keepBeside(path, copied, name string) (string, error) {
	dir, stem, _ := splitPath(path)
	kept, made := filepath.Join(dir, stem+".restored-"+name), filepath.Join(dir, stem+".restoring-"+name)
	if exists(kept) {
		return kept, nil
	}
	err := os.RemoveAll(made) // a crash may have left it
	if err == nil {
		err = os.Mkdir(made, 0o750)
	}
	if err == nil {
		_, err = CopyTo(copied, made)
	}
	if err == nil {
		err = settleFolder(made, dir)
	}
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, made, unix.AT_FDCWD, kept, unix.RENAME_NOREPLACE)
	}
	if err == nil {
		err = syncDir(path)
	}
	if err != nil {
		return "", writeHint(fmt.Errorf("keep the restored ledger beside %s: %w", path, errors.Join(err, os.RemoveAll(made))))
	}
	return kept, nil
}

// settleFolder gives a folder and the files in it to the owner of the folder like, and makes them
// durable: who restores need not be who writes the ledger.
func settleFolder(made, like string) error {
	var owner unix.Stat_t
	if err := unix.Stat(like, &owner); err != nil {
		return &fs.PathError{Op: "stat", Path: like, Err: err}
	}
	files, err := os.ReadDir(made)
	if err != nil {
		return err
	}
	for _, d := range files {
		if err := settleFile(filepath.Join(made, d.Name()), owner); err != nil {
			return err
		}
	}
	return settleFile(made, owner)
}

func settleFile(path string, owner unix.Stat_t) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 { // others own what they make
		err = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	return errors.Join(err, f.Sync(), f.Close())
}
