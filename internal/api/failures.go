package api

import (
	"net"
	"sync"
	"time"
)

// failures counts failed logins of each source address, for the log alone: a secret of 256 bits is
// not guessed, and a limit would let anybody lock out the people behind the same address.
type failures struct {
	now func() time.Time

	mu   sync.Mutex
	from map[string]count
}

type count struct {
	n     int
	until time.Time
}

const (
	// maxFailures of one source are logged within failureWindow.
	maxFailures   = 10
	failureWindow = time.Minute
	// maxSources bounds the memory; when it is reached all sources begin anew.
	maxSources = 4096
)

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, from: map[string]count{}}
}

// add counts a failure and returns how many the source had in its window.
func (f *failures) add(remote string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := source(remote)
	c := f.from[key]
	if !f.now().Before(c.until) {
		c = count{until: f.now().Add(failureWindow)}
	}
	if _, known := f.from[key]; !known && len(f.from) >= maxSources {
		clear(f.from)
	}
	c.n++
	f.from[key] = c
	return c.n
}

// source is the address a count is about: one host may own a whole /64 of IPv6.
func source(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}
