package ingest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// everyLine is a parser that makes an event of each line, in memory that it uses again.
type everyLine struct{ memory []byte }

func (p *everyLine) Parse(line []byte, events []logs.Event) []logs.Event {
	p.memory = append(p.memory[:0], line...)
	return append(events, logs.Event{Kind: logs.Failure, Count: 1, User: p.memory})
}

// trouble that was told.
type trouble struct {
	log, kind string
	details   map[string]any
}

// reader runs Inputs and keeps what they give.
type reader struct {
	t        testing.TB
	o        Options
	mu       sync.Mutex
	lines    []string
	events   []logs.Event
	batches  []Batch
	troubles []trouble
	at       Position
	// fail is asked before a batch is taken.
	fail   func() error
	took   chan struct{}
	inputs *Inputs
	stop   func()
}

func newReader(t testing.TB, l config.Log) *reader {
	if l.Name == "" {
		l.Name = "test"
	}
	if l.Format == "" {
		l.Format = "sshd"
	}
	r := &reader{t: t, took: make(chan struct{}, 1)}
	r.o = Options{
		Logs: []config.Log{l}, Handle: r.handle, Trouble: r.trouble,
		NewParser: func(config.Log) (logs.Parser, error) { return &everyLine{}, nil },
	}
	return r
}

func (r *reader) handle(_ context.Context, b Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		select {
		case r.took <- struct{}{}:
		default:
		}
	}()
	if r.fail != nil {
		if err := r.fail(); err != nil {
			return err
		}
	}
	for _, e := range b.Events {
		r.lines = append(r.lines, string(e.User))
		e.User = nil
		r.events = append(r.events, e)
	}
	r.batches = append(r.batches, Batch{Log: b.Log, Lines: b.Lines})
	r.at = b.Position
	return nil
}

func (r *reader) trouble(log, kind string, details map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.troubles = append(r.troubles, trouble{log, kind, details})
}

// start reads on from the last position, as it is after a restart of the process.
func (r *reader) start() *reader {
	r.t.Helper()
	data, err := json.Marshal(r.at)
	require.NoError(r.t, err)
	var at Position
	require.NoError(r.t, json.Unmarshal(data, &at))
	o := r.o
	o.Positions = map[string]Position{o.Logs[0].Name: at}
	if at == (Position{}) {
		o.Positions = nil
	}
	in, err := New(o)
	require.NoError(r.t, err)
	r.inputs = in
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(r.t, <-done)
	})
	r.t.Cleanup(r.stop)
	return r
}

// until waits for what has to become true after something was handled or told.
func (r *reader) until(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			r.mu.Lock()
			defer r.mu.Unlock()
			require.FailNow(r.t, "in vain: "+what, "lines %.12q\ntroubles %v\nstatus %+v", tailOf(r.lines), r.troubles, r.inputs.Status())
		}
		select {
		case <-r.took:
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func tailOf(lines []string) []string { return lines[max(0, len(lines)-20):] }

// opened waits until the log is open, so that what is written from now on is new.
func (r *reader) opened() *reader {
	r.t.Helper()
	r.until("it is opened", func() bool { return r.at.Opened })
	return r
}

// sees waits until exactly these lines have been read since the beginning, and no more.
func (r *reader) sees(lines ...string) {
	r.t.Helper()
	r.until("the lines are read", func() bool { return len(r.lines) >= len(lines) })
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Equal(r.t, lines, r.lines)
}

func (r *reader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.lines)
}

func (r *reader) told(kind string) trouble {
	r.t.Helper()
	var found trouble
	r.until("it tells: "+kind, func() bool {
		for _, t := range r.troubles {
			if t.kind == kind {
				found = t
				return true
			}
		}
		return false
	})
	return found
}

func write(t testing.TB, path string, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(strings.Join(lines, ""))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func logFile(t testing.TB) string { return filepath.Join(t.TempDir(), "auth.log") }

// TestLongLinesHideNobody: who makes his lines in an access log too long to be read whole is found by their
// beginnings, once each, also after a restart in the middle of one.
func TestLongLinesHideNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	line := func(addr string, length int) string {
		return addr + ` - bob [20/Jan/2026:19:53:28 +0100] "GET /p HTTP/1.1" 401 9 "-" "` + strings.Repeat(`\x80`, length/4)
	}
	write(t, path, line("192.0.2.1", maxLine)+"\"\n", line("192.0.2.2", 2*blockSize)+"\"\n", line("192.0.2.3", 9)+"\"\n")
	write(t, path, line("192.0.2.4", 2*maxLine))
	r := newReader(t, config.Log{File: path, Format: "nginx-access", FromStart: true})
	r.o.NewParser = nil
	r.start()
	r.until("all four are read", func() bool { return len(r.events) == 8 })
	r.stop()
	r.start()
	write(t, path, "203.0.113.9 - -\"\n", line("192.0.2.5", 9)+"\"\n")
	r.until("the next one is read", func() bool { return len(r.events) >= 10 })
	for i, e := range r.events {
		require.Equal(t, "192.0.2."+strconv.Itoa(1+i/2), e.Addr.String())
		require.Equal(t, []logs.Kind{logs.Request, logs.Failure}[i%2], e.Kind)
	}
	r.stop()
}
