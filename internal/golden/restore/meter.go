package restore

import (
	"sync"
	"sync/atomic"
	"time"
)

// meter counts what the workers did and reports it from a goroutine of its own, so that counting
// costs them one addition.
type meter struct {
	report       func(Progress)
	files, bytes atomic.Int64

	done sync.WaitGroup
}

const reportEvery = 100 * time.Millisecond

// begin starts a phase and returns what ends it.
func (m *meter) begin(phase string, total int64) (end func()) {
	m.files.Store(0)
	m.bytes.Store(0)
	if m.report == nil {
		return func() {}
	}
	stop := make(chan struct{})
	now := func() {
		m.report(Progress{Phase: phase, Files: m.files.Load(), Bytes: m.bytes.Load(), TotalBytes: total})
	}
	m.done.Go(func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				now()
			case <-stop:
				now()
				return
			}
		}
	})
	return func() {
		close(stop)
		m.done.Wait()
	}
}
