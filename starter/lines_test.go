package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is an output whose text can be waited for.
type lines struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !strings.Contains(l.String(), text) {
		select {
		case <-l.more:
		case <-late:
			t.Fatalf("%q was not printed; there is:\n%s", text, l.String())
		}
	}
}
