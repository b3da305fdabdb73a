package crash_test

import (
	"sync"
	"testing"
	"time"

	"github.com/shivx/shivx/test/stand"
)

// supervisor starts a program again as soon as it is gone, as an init system does.
type supervisor struct {
	process *stand.Process
	stop    chan struct{}
	done    chan struct{}

	mu     sync.Mutex
	deaths []time.Time
	// away is how long the program stays away after its next deaths.
	away time.Duration
}

// supervise keeps a program running until the test ends.
func supervise(t *testing.T, p *stand.Process) *supervisor {
	s := &supervisor{process: p, stop: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	t.Cleanup(s.end)
	return s
}

func (s *supervisor) run() {
	defer close(s.done)
	for {
		select {
		case <-s.stop:
			return
		case <-s.process.Gone():
		}
		s.mu.Lock()
		s.deaths = append(s.deaths, time.Now())
		away := s.away
		s.mu.Unlock()
		select {
		case <-s.stop:
			return
		case <-time.After(away):
			s.process.Start()
		}
	}
}

// end leaves the program alone from now on.
func (s *supervisor) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.done
}

// stayAway makes the program stay away for d after each of its next deaths.
func (s *supervisor) stayAway(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = d
}

// died returns the times at which the program was found gone.
func (s *supervisor) died() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.deaths...)
}
