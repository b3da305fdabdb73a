package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

func TestNewFileIsReadFromItsEnd(t *testing.T) {
	path := logFile(t)
	write(t, path, "old\n", "half ")
	r := newReader(t, config.Log{File: path}).start().opened()
	write(t, path, "a line\n", "second\r\n", "\x00\xff\n", "hal")
	r.sees("half a line", "second", "\x00\xff")
	write(t, path, "f\n")
	r.sees("half a line", "second", "\x00\xff", "half")
	require.Empty(t, r.troubles)
	r.until("they are counted", func() bool { return r.inputs.Status()[0].Lines == 4 })
	s := r.inputs.Status()[0]
	require.Equal(t, path, s.Path)
	require.Empty(t, s.Error)
}

func TestNewFileIsReadFromItsStart(t *testing.T) {
	path := logFile(t)
	write(t, path, "old\n", "older\n")
	newReader(t, config.Log{File: path, FromStart: true}).start().sees("old", "older")
}

func TestFileThatComesLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "later", "auth.log")
	r := newReader(t, config.Log{File: path}).start().opened()
	r.until("the status says so", func() bool { return strings.Contains(r.inputs.Status()[0].Error, "no such file") })
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o755))
	write(t, path, "first\n")
	r.sees("first")
	r.until("the status is good", func() bool { return r.inputs.Status()[0].Error == "" })
}

// A batch that is not taken is given again, and nothing after it before.
func TestHandleFails(t *testing.T) {
	path := logFile(t)
	write(t, path)
	r := newReader(t, config.Log{File: path}).start().opened()
	room := false
	r.mu.Lock()
	r.fail = func() error {
		if !room {
			return errors.New("no room")
		}
		return nil
	}
	r.mu.Unlock()
	write(t, path, "one\n")
	r.until("it is in the status", func() bool { return strings.Contains(r.inputs.Status()[0].Error, "no room") })
	write(t, path, "two\n")
	r.until("the lag is told", func() bool { return r.inputs.Status()[0].Lag == 4 })
	r.mu.Lock()
	room = true
	r.mu.Unlock()
	r.sees("one", "two")
	r.until("all is well", func() bool { s := r.inputs.Status()[0]; return s.Error == "" && s.Lag == 0 })
}

func TestLongLinesAreLeftOut(t *testing.T) {
	path := logFile(t)
	long := strings.Repeat("x", maxLine)
	write(t, path, "a\n", long, "\n", long, "x\n", "b\n", strings.Repeat(long, 20), "\n", "c\n", long)
	r := newReader(t, config.Log{File: path, FromStart: true}).start()
	r.sees("a", long, "b", "c")
	// A line that grows too long is given up at once; its rest is left out after a restart too.
	write(t, path, "xx")
	r.until("the position is in the line", func() bool { return r.at.Skip })
	r.stop()
	write(t, path, "rest\n", "d\n")
	r.start().sees("a", long, "b", "c", "d")
	require.Equal(t, uint64(0), r.inputs.Status()[0].Cut)
}

func TestWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{"/dev/zero": "is a device", dir: "is a folder", fifo(t, dir): "is a named pipe"} {
		r := newReader(t, config.Log{File: name}).start()
		require.Contains(t, r.told(TroubleUnreadable).details["error"], want)
		require.Contains(t, r.inputs.Status()[0].Error, want)
		r.stop()
	}
}

// Events of a full batch end it within a block: the position is the one after its last line.
func TestPositionOfEachBatch(t *testing.T) {
	path := logFile(t)
	var text strings.Builder
	for i := range 3*maxEvents + 1 {
		fmt.Fprintf(&text, "%05d\n", i)
	}
	write(t, path, text.String())
	r := newReader(t, config.Log{File: path, FromStart: true})
	var ends []int64
	handle := r.o.Handle
	r.o.Handle = func(ctx context.Context, b Batch) error {
		ends = append(ends, b.Position.Offset/6)
		return handle(ctx, b)
	}
	r.start().until("all is read", func() bool { return len(r.lines) == 3*maxEvents+1 })
	r.stop()
	require.Equal(t, []int64{0, maxEvents, 2 * maxEvents, 3 * maxEvents, 3*maxEvents + 1}, ends)
}

func TestSilence(t *testing.T) {
	path := logFile(t)
	r := newReader(t, config.Log{File: path, QuietAfter: time.Minute})
	var mu sync.Mutex
	now := time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)
	r.o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	later := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	r.start().opened()
	later(59 * time.Second)
	time.Sleep(2 * pollWatched) // the alarm would be told by the next look
	require.Empty(t, r.troubles)
	later(time.Second)
	require.Contains(t, r.told(TroubleSilent).details["error"], "no such file")
	require.True(t, r.inputs.Status()[0].Silent)
	later(time.Hour)
	write(t, path, "at last\n")
	require.Equal(t, "1h1m0s", r.told(TroubleSpeaks).details["silent_for"])
	require.False(t, r.inputs.Status()[0].Silent)
	require.Len(t, r.troubles, 2)
}
