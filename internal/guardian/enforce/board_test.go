package enforce

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// memory is an enforcer that keeps what it is given.
type memory struct {
	name     string
	set      *Set
	broken   error         // what Replace and Apply answer
	slow     time.Duration // how long they take
	replaced int
	applied  int
	inside   bool
}

func (m *memory) Name() string { return m.name }

func (m *memory) work(ctx context.Context) error {
	if m.inside {
		panic("two methods at the same time")
	}
	m.inside = true
	select {
	case <-time.After(m.slow):
	case <-ctx.Done():
	}
	m.inside = false
	return errors.Join(m.broken, ctx.Err())
}

func (m *memory) Replace(ctx context.Context, s State) error {
	m.replaced++
	if err := m.work(ctx); err != nil {
		return err
	}
	m.set.Replace(s)
	return nil
}

func (m *memory) Apply(ctx context.Context, d Delta) error {
	m.applied++
	if err := m.work(ctx); err != nil {
		return err
	}
	apply(m.set, d)
	return nil
}

// checked is a memory that can be asked.
type checked struct {
	memory
	want *Set
}

func (c *checked) Entries() int { return c.set.Len() }

func (c *checked) Holds(ctx context.Context, p netip.Prefix) (bool, error) {
	_, ok := c.set.Get(p)
	return ok, c.work(ctx)
}

func (c *checked) Verify(ctx context.Context) error {
	if c.set.Len() != c.want.Len() {
		return errors.New("somebody else has changed it")
	}
	return c.work(ctx)
}

func apply(s *Set, d Delta) {
	for _, p := range d.Drop {
		s.Drop(p)
	}
	for _, i := range d.Put {
		s.Put(i)
	}
	if d.Lockdown != nil {
		s.SetLockdown(*d.Lockdown)
	}
}

// rig is a board over one state.
type rig struct {
	*Board
	state *Set
	mu    sync.Mutex
	told  []string
	// cancel ends the board and waits for it.
	cancel func()
}

func newRig(t *testing.T, state *Set, enforcers ...Enforcer) *rig {
	t.Helper()
	r := &rig{state: state}
	r.Board = NewBoard(enforcers, BoardOptions{
		OnTrouble: func(name string, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.told = append(r.told, fmt.Sprintf("%s: %v", name, err))
		},
		State: func() State { return State{Isolations: state.All()} },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	r.cancel = func() { cancel(); <-ended }
	go func() { defer close(ended); r.Run(ctx) }()
	return r
}

func (r *rig) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

func (r *rig) give(d Delta) {
	apply(r.state, d)
	r.Apply(d)
}

func put(sources ...string) Delta {
	var d Delta
	for _, s := range sources {
		d.Put = append(d.Put, block(s, time.Hour))
	}
	return d
}

func sources(s *Set) []string {
	var all []string
	for _, i := range s.All() {
		all = append(all, i.Source)
	}
	slices.Sort(all)
	return all
}

func TestBoardGivesTheStateAndThenTheChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast, slow := &memory{name: "fast", set: NewSet(nil)}, &memory{name: "slow", set: NewSet(nil), slow: time.Second}
		state := NewSet(nil)
		state.Put(block("192.0.2.1", 0))
		r := newRig(t, state, fast, slow)
		defer r.cancel()
		synctest.Wait()
		require.Equal(t, []string{"192.0.2.1"}, sources(fast.set))
		for i := range 100 { // while the slow one is busy
			r.give(put(fmt.Sprintf("198.51.100.%d", i)))
			r.give(Delta{Drop: prefixes(fmt.Sprintf("198.51.100.%d", i/2))})
			synctest.Wait()
		}
		require.Equal(t, sources(state), sources(fast.set), "the slow one holds nobody up")
		status := r.Status()
		require.True(t, status[0].OK && status[0].Behind == 0)
		require.Equal(t, uint64(201), status[1].Behind)
		require.NoError(t, r.Settled(t.Context()))
		synctest.Wait()
		require.Equal(t, sources(state), sources(slow.set))
		require.Equal(t, 1, slow.replaced)
		require.Equal(t, 1, slow.applied, "changes that wait are given together")
		require.Empty(t, r.heard())

		on := Lockdown{On: true}
		r.Apply(Delta{Lockdown: &on})
		require.NoError(t, r.Settled(t.Context()))
		synctest.Wait()
		require.True(t, slow.set.Look(netip.MustParseAddr("9.9.9.9"), time.Now()).Lockdown)
	})
}

func TestBoardReplacesAfterAnErrorAndTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &memory{name: "bad", set: NewSet(nil)}, &memory{name: "good", set: NewSet(nil)}
		r := newRig(t, NewSet(nil), bad, good)
		defer r.cancel()
		synctest.Wait()
		bad.broken = errors.New("no")
		for i := range 5 {
			r.give(put(fmt.Sprintf("192.0.2.%d", i)))
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		require.Equal(t, []string{"bad: no"}, r.heard())
		tries := bad.replaced
		require.Less(t, tries, 30, "it waits longer and longer")
		require.Greater(t, tries, 10)
		status := r.Status()
		require.Equal(t, EnforcerStatus{Name: "bad", Error: "no", Behind: 5, LastApplied: status[0].LastApplied}, status[0])
		require.True(t, status[1].OK)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorContains(t, r.Settled(over), "enforcers bad:")

		bad.broken = nil
		require.NoError(t, r.Settled(t.Context()))
		synctest.Wait()
		require.Equal(t, sources(r.state), sources(bad.set))
		require.Equal(t, []string{"bad: no", "bad: <nil>"}, r.heard())
	})
}

func TestBoardReplacesWhenTooMuchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{name: "m", set: NewSet(nil), slow: time.Second}
		r := newRig(t, NewSet(nil), m)
		defer r.cancel()
		synctest.Wait()
		r.give(Delta{Put: manySources(maxPending + 1)})
		r.give(put("192.0.2.1"))
		require.Empty(t, r.lanes[0].pending, "the queue is bounded")
		require.NoError(t, r.Settled(t.Context()))
		synctest.Wait()
		require.Equal(t, 2, m.replaced)
		require.Equal(t, 0, m.applied)
		require.Equal(t, r.state.Len(), m.set.Len())
	})
}

func TestBoardVerifiesAndRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := NewSet(nil)
		c := &checked{memory{name: "c", set: NewSet(nil)}, state}
		r := newRig(t, state, c, &memory{name: "mute", set: NewSet(nil)})
		defer r.cancel()
		r.give(put("192.0.2.1"))
		require.NoError(t, r.Settled(t.Context()))
		synctest.Wait()
		time.Sleep(5 * verifyEvery)
		require.Empty(t, r.heard())
		require.Equal(t, 1, r.Status()[0].Entries)
		require.Equal(t, map[string]bool{"c": true}, r.Holds(t.Context(), prefixes("192.0.2.1")[0]))

		c.set.Drop(prefixes("192.0.2.1")[0])
		require.Equal(t, map[string]bool{"c": false}, r.Holds(t.Context(), prefixes("192.0.2.1")[0]))
		time.Sleep(verifyEvery + time.Second)
		synctest.Wait()
		require.Equal(t, []string{"c: somebody else has changed it", "c: <nil>"}, r.heard())
		require.Equal(t, map[string]bool{"c": true}, r.Holds(t.Context(), prefixes("192.0.2.1")[0]))
	})
}

func TestBoardEndsInTheMiddleOfWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, NewSet(nil), &checked{memory: memory{name: "m", set: NewSet(nil), slow: time.Hour}})
		require.Error(t, r.Settled(mustEnd(t, time.Minute)))
		require.Empty(t, r.Holds(mustEnd(t, time.Minute), prefixes("192.0.2.1")[0]))
		r.cancel()
		synctest.Wait()
		require.Empty(t, r.told, "the end is no trouble")
	})
}

func mustEnd(t *testing.T, after time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), after)
	t.Cleanup(cancel)
	return ctx
}
