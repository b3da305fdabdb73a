package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress is a line on a terminal for what takes longer than a second.
type progress struct {
	s *screen
	// text is called from time to time for what is to be shown; "": nothing.
	text    func() string
	mu      sync.Mutex
	drawn   bool
	stop    chan struct{}
	stopped chan struct{}
}

func newProgress(s *screen, text func() string) *progress {
	p := &progress{s: s, text: text, stop: make(chan struct{}), stopped: make(chan struct{})}
	go p.draw()
	return p
}

func (p *progress) draw() {
	defer close(p.stopped)
	wait := time.NewTimer(time.Second)
	defer wait.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-wait.C:
			wait.Reset(100 * time.Millisecond)
		}
		if p.s.tty {
			p.show(p.text())
		}
	}
}

// show draws the line anew; "" takes it away.
func (p *progress) show(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text == "" {
		p.clear()
		return
	}
	if cols, _ := p.s.size(); cols > 0 {
		text = cut(text, cols-1)
	}
	p.drawn = true
	_, _ = fmt.Fprint(p.s.w, "\r"+text+"\x1b[K")
}

// clear takes the line away. The caller holds mu.
func (p *progress) clear() {
	if p.drawn {
		_, _ = fmt.Fprint(p.s.w, "\r\x1b[K")
		p.drawn = false
	}
}

func (p *progress) end() {
	close(p.stop)
	<-p.stopped
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// beside returns a writer to w, which may be the same terminal: what is written to it, whole lines, does
// not mix with the line.
func (p *progress) beside(w io.Writer) io.Writer { return besideProgress{p, w} }

type besideProgress struct {
	p *progress
	w io.Writer
}

func (b besideProgress) Write(text []byte) (int, error) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	b.p.clear()
	return b.w.Write(text)
}

// bar draws how much of total is done, both in bytes.
func bar(done, total int64) string {
	const length = 20
	part := float64(min(done, total)) / float64(total)
	full := int(part * length)
	return fmt.Sprintf("[%s%s] %3.0f %% of %s", strings.Repeat("█", full), strings.Repeat("·", length-full), part*100, bytesText(total))
}
