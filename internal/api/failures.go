package api

import (
	"net"
	"sync"
	"time"
)

// failures counts failed logins of each source address and refuses more after too many.
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
	// maxFailures of one source within failureWindow.
	maxFailures   = 10
	failureWindow = time.Minute
	// maxSources bounds the memory; when it is reached all sources begin anew.
	maxSources = 4096
)

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, from: map[string]count{}}
}

// wait returns how long a source must wait; 0 when it may try.
func (f *failures) wait(remote string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.from[source(remote)]
	if c.n < maxFailures {
		return 0
	}
	return max(0, c.until.Sub(f.now()))
}

// add counts a failure.
func (f *failures) add(remote string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := source(remote)
	c := f.from[key]
	if !f.now().Before(c.until) {
		c = count{until: f.now().Add(failureWindow)}
	}
	if len(f.from) >= maxSources {
		clear(f.from)
	}
	c.n++
	f.from[key] = c
}

// source is the address a limit is about: one host may own a whole /64 of IPv6.
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
