package resilience

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// Snapshot is the answer for every feature at one time. It never changes.
type Snapshot struct {
	Level shivx.Level
	// Changed is when these answers began to hold.
	Changed time.Time
	// Version is the number of the change of the level that made it.
	Version uint64
	// ETag identifies the answers, in the form of the HTTP header, quotes included: it is the
	// same as long as every answer is, also over restarts.
	ETag string
	// List holds the features in the order of the configuration; not to be changed.
	List   []shivx.Feature
	byName map[string]int

	once    sync.Once
	encoded any
}

// Lookup returns the answer for one feature; false when there is none of that name.
func (s *Snapshot) Lookup(name string) (shivx.Feature, bool) {
	i, ok := s.byName[name]
	if !ok {
		return shivx.Feature{}, false
	}
	return s.List[i], true
}

// Encoded keeps with the snapshot what encode makes of it: encode is called once, by whoever asks
// first, and everybody gets its result. There is room for one encoder only.
func (s *Snapshot) Encoded(encode func(*Snapshot) any) any {
	s.once.Do(func() { s.encoded = encode(s) })
	return s.encoded
}

// Features returns the answers as they are now.
func (c *Core) Features() *Snapshot { return c.features.Load() }

// OnFeatures has f called with each new snapshot, in order. f must not block and must not call
// Override, AddRestart or OnFeatures.
func (c *Core) OnFeatures(f func(*Snapshot)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, f)
}

// publish makes the answers follow the state. The caller holds order.
func (c *Core) publish(at time.Time) {
	c.mu.Lock()
	s := c.snapshot(at)
	listeners := c.listeners
	c.mu.Unlock()
	if old := c.features.Load(); old.ETag == s.ETag {
		s.Changed = old.Changed
	}
	c.features.Store(s)
	c.flags.changed()
	for _, f := range listeners {
		c.contain("telling of the features", func() { f(s) })
	}
}

// snapshot answers for every feature at the state's level.
func (c *Core) snapshot(at time.Time) *Snapshot {
	st := c.state
	s := &Snapshot{Level: st.Level, Version: st.Changes, Changed: at, byName: map[string]int{}}
	for _, f := range c.o.Rules.Features {
		s.byName[f.Name] = len(s.List)
		s.List = append(s.List, answer(f, st))
	}
	data, _ := json.Marshal(s.List) // strings and booleans only
	sum := sha256.Sum256(data)
	s.ETag = `"` + hex.EncodeToString(sum[:16]) + `"`
	return s
}

// answer says whether a feature is on, and why.
func answer(f config.Feature, st state) shivx.Feature {
	off := shivx.Level(f.OffAt)
	if off.Rank() < 0 {
		return shivx.Feature{Name: f.Name, Enabled: true, Reason: "kept on at every level"}
	}
	why := fmt.Sprintf("the host is at %s", st.Level)
	switch {
	case st.Override != nil:
		why = "the host is " + held(st.Override)
	case st.Level != shivx.LevelNormal && st.Reason != "":
		why += " (" + st.Reason + ")"
	}
	if off.WorseThan(st.Level) {
		return shivx.Feature{Name: f.Name, OffAt: off, Enabled: true, Reason: "on: " + why}
	}
	return shivx.Feature{Name: f.Name, OffAt: off, Reason: fmt.Sprintf("off since %s: %s", clockTime(st.Reached[off]), why)}
}
