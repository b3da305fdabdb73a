package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

// openedLog is a log that is read, unpacked, from its beginning.
type openedLog struct {
	io.Reader
	// written is when the file was written last.
	written time.Time
	// size is that of the file, 0 when it is not known; read counts its bytes, packed or not.
	size  int64
	read  atomic.Int64
	close func() error
}

// errInterrupted is the error of what Ctrl-C has ended.
var errInterrupted = errors.New("interrupted")

// openLog opens a log, gzip or not; "-" is standard input.
func openLog(ctx context.Context, path string, stdin io.Reader) (*openedLog, error) {
	l := &openedLog{written: time.Now(), close: func() error { return nil }}
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, hint(usagef("there is no file %s", path), `name the log's file, or "-" for standard input`)
		} else if err != nil {
			return nil, withCode(exitUsage, fmt.Errorf("open the log: %w", err))
		}
		in, l.close = f, f.Close
		info, err := f.Stat()
		switch {
		case err != nil:
			return nil, errors.Join(fmt.Errorf("open the log: %w", err), f.Close())
		case info.IsDir():
			return nil, errors.Join(hint(usagef("%s is a folder", path), "name one of the logs in it"), f.Close())
		case info.Mode().IsRegular():
			l.size, l.written = info.Size(), info.ModTime()
		}
	}
	way, cut := interruptible(ctx, in)
	opened := l.close
	l.close = func() error { cut(); return opened() }
	return l, l.unpack(path, bufio.NewReaderSize(countingReader{way, &l.read}, chunk))
}

// chunk is how much of a log is read at a time, in bytes.
const chunk = 64 << 10

// packed are the beginnings of files that are packed in another way than by gzip, with what unpacks them.
var packed = map[string]string{"\x28\xb5\x2f\xfd": "zstdcat", "\xfd7zX": "xzcat", "BZh": "bzcat"}

// unpack looks at the log's beginning.
func (l *openedLog) unpack(path string, in *bufio.Reader) error {
	l.Reader = in
	begin, _ := in.Peek(4) // what keeps it from being read is told where it is read
	if bytes.HasPrefix(begin, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return errors.Join(fmt.Errorf("unpack the log: %w", err), l.close())
		}
		l.Reader = unpacked
	}
	for magic, program := range packed {
		if bytes.HasPrefix(begin, []byte(magic)) {
			return errors.Join(hint(usagef("%s is packed in a way that is not known here", path),
				"unpack it: "+program+" FILE | shivx guardian replay … -"), l.close())
		}
	}
	return nil
}

// howFar tells how much was read, for people.
func (l *openedLog) howFar() string {
	if l.size == 0 {
		return "replaying: " + bytesText(l.read.Load()) + " read"
	}
	return "replaying " + bar(l.read.Load(), l.size)
}

type countingReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// interruptible returns a reader that ends with ctx, also while it waits for a pipe or a keyboard; cut
// ends it, too.
func interruptible(ctx context.Context, r io.Reader) (_ io.Reader, cut func()) {
	out, in := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{in}, struct{ io.Reader }{r}, make([]byte, chunk))
		_ = in.CloseWithError(err) // it never fails
	}()
	end := func() { _ = in.CloseWithError(errInterrupted) }
	stop := context.AfterFunc(ctx, end)
	return out, func() { stop(); end() }
}
