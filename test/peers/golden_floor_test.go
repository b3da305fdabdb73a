package peers

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// goldenFloor is what the machine itself takes, in seconds: reading and hashing the whole tree on all
// processors, and writing as many bytes into as many files with one sync at the end. No program that
// verifies or writes everything can be faster.
func goldenFloor(t *testing.T, tree *goldenTree, out string) (hash, write float64) {
	t.Helper()
	began := time.Now()
	tree.each(t, func(path string, buf []byte) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(struct{ io.Writer }{sha256.New()}, struct{ io.Reader }{f}, buf)
		return err
	})
	hash = time.Since(began).Seconds()
	makeFar(t, out)
	syncFiles(t, tree.dir)
	began = time.Now()
	tree.each(t, func(path string, buf []byte) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		name := filepath.Join(out, strings.ReplaceAll(strings.TrimPrefix(path, tree.dir+"/"), "/", "-"))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		for left := info.Size(); left > 0 && err == nil; left -= int64(len(buf)) {
			_, err = f.Write(buf[:min(left, int64(len(buf)))])
		}
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		return err
	})
	syncFiles(t, tree.dir)
	write = time.Since(began).Seconds()
	must(t, os.RemoveAll(out))
	return hash, write
}

// each calls f for all files of the tree on all processors.
func (g *goldenTree) each(t *testing.T, f func(path string, buf []byte) error) {
	t.Helper()
	paths := make(chan string, 64)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			buf := make([]byte, 128<<10)
			for path := range paths {
				if err := f(path, buf); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, path := range g.files {
		paths <- path
	}
	close(paths)
	all.Wait()
}
