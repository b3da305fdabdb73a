package api

import (
	"crypto/sha256"
	"sync"
	"time"
)

// secrets remembers whom random secrets belong to until they end. It keeps hashes only, and at
// most max of each token's: the one of them that ends first makes place for a new one, so that
// nobody can push out another's.
type secrets struct {
	life time.Duration
	max  int
	now  func() time.Time

	mu    sync.Mutex
	known map[[sha256.Size]byte]held
}

type held struct {
	holder
	until time.Time
}

func newSecrets(life time.Duration, limit int, now func() time.Time) *secrets {
	return &secrets{life: life, max: limit, now: now, known: map[[sha256.Size]byte]held{}}
}

// issue makes a secret for h.
func (s *secrets) issue(h holder) (secret string, until time.Time) {
	secret, until = newSecret(), s.now().Add(s.life)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(h.token)
	s.known[sha256.Sum256([]byte(secret))] = held{h, until}
	return secret, until
}

// drop forgets what has ended and makes place for one more of a token's.
func (s *secrets) drop(token uint64) {
	var first [sha256.Size]byte
	var end time.Time
	n := 0
	for hash, h := range s.known {
		if !s.now().Before(h.until) {
			delete(s.known, hash)
			continue
		}
		if h.token != token {
			continue
		}
		if n++; end.IsZero() || h.until.Before(end) {
			first, end = hash, h.until
		}
	}
	if n >= s.max {
		delete(s.known, first)
	}
}

// find returns whose secret it is. The lookup is by the hash of what was sent, so its time says
// nothing about the secrets there are.
func (s *secrets) find(secret string) (holder, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.known[sha256.Sum256([]byte(secret))]
	return h.holder, ok && s.now().Before(h.until)
}

// take is find, and the secret holds no more.
func (s *secrets) take(secret string) (holder, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hash := sha256.Sum256([]byte(secret))
	h, ok := s.known[hash]
	delete(s.known, hash)
	return h.holder, ok && s.now().Before(h.until)
}
