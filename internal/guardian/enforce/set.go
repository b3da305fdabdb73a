package enforce

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"github.com/shivx/shivx"
)

// Set decides in memory who is refused. Lookups take no lock.
type Set struct {
	mu   sync.Mutex // held by writers
	view atomic.Pointer[view]
	// count of the isolations.
	count atomic.Int64
}

// view is one version of the tables. Single sources change within it; anything else makes a new view,
// whose tables share all but the path to the changed entry with the one before.
type view struct {
	allow    *bart.Lite
	exact    *exact
	networks *bart.Table[*shivx.Isolation]
	lockdown Lockdown
}

// Verdict is what a Set says about an address.
type Verdict struct {
	// Refused says that the address is kept out.
	Refused bool
	// Allowed says that it is on the allow list; nothing refuses it then.
	Allowed bool
	// Lockdown says that a lockdown refuses it, isolated or not.
	Lockdown bool
	// Isolation that refuses it; nil when the lockdown does, or nothing. It must not be changed.
	Isolation *shivx.Isolation
}

// NewSet returns a Set without isolations that never refuses what is in allow, or the loopback.
func NewSet(allow []netip.Prefix) *Set {
	s := &Set{}
	s.view.Store(&view{allow: allowTable(allow), exact: newExact(0), networks: &bart.Table[*shivx.Isolation]{}})
	return s
}

// loopback is never refused.
func loopback() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8), netip.PrefixFrom(netip.IPv6Loopback(), 128)}
}

// allowTable has the allow list, with the loopback.
func allowTable(allow []netip.Prefix) *bart.Lite {
	t := &bart.Lite{}
	for _, list := range [][]netip.Prefix{loopback(), allow} {
		for _, p := range list {
			t.Insert(p.Masked())
		}
	}
	return t
}

// Put isolates, or changes an isolation. One that is lifted lets its source go. A source that is no
// address or network is not kept.
func (s *Set) Put(i shivx.Isolation) {
	p, err := shivx.ParseSource(i.Source)
	if err != nil {
		return
	}
	if i.Lifted {
		s.Drop(p)
		return
	}
	s.change(func(v *view) { v.put(p, &i) })
}

// Drop lets a source go.
func (s *Set) Drop(p netip.Prefix) {
	p = p.Masked()
	s.change(func(v *view) {
		if key := exactKey(p); key != 0 {
			v.exact.drop(key)
			return
		}
		v.networks = v.networks.DeletePersist(p)
	})
}

func (v *view) put(p netip.Prefix, i *shivx.Isolation) {
	if key := exactKey(p); key != 0 {
		v.exact = v.exact.put(key, i)
		return
	}
	v.networks = v.networks.InsertPersist(p, i)
}

// Lockdown returns the lockdown as it was set, also when its end is over.
func (s *Set) Lockdown() Lockdown { return s.view.Load().lockdown }

// SetLockdown refuses everybody but the allow list, or ends that.
func (s *Set) SetLockdown(l Lockdown) { s.change(func(v *view) { v.lockdown = l }) }

// Replace makes st the state in one step, its allow list included.
func (s *Set) Replace(st State) {
	next := view{
		allow: allowTable(st.Allow), exact: newExact(len(st.Isolations)),
		networks: &bart.Table[*shivx.Isolation]{}, lockdown: st.Lockdown,
	}
	for i := range st.Isolations {
		kept := st.Isolations[i] // a copy: the caller's slice stays the caller's
		if p, err := shivx.ParseSource(kept.Source); err == nil && !kept.Lifted {
			next.put(p, &kept)
		}
	}
	s.change(func(v *view) { *v = next })
}

func (s *Set) change(edit func(*view)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.view.Load()
	next := *now
	edit(&next)
	s.count.Store(int64(next.exact.live + next.networks.Size()))
	if next != *now {
		s.view.Store(&next)
	}
}

// Look decides about an address: the allow list first, then a lockdown, then the longest isolation
// around the address that is in force at now. An address that is none is refused in a lockdown alone.
func (s *Set) Look(a netip.Addr, now time.Time) Verdict {
	a = a.Unmap()
	if a.Zone() != "" {
		a = a.WithZone("")
	}
	v := s.view.Load()
	switch {
	case v.allow.Contains(a):
		return Verdict{Allowed: true}
	case v.lockdown.InForce(now):
		return Verdict{Refused: true, Lockdown: true}
	}
	if i := v.isolation(a, now); i != nil {
		return Verdict{Refused: true, Isolation: i}
	}
	return Verdict{}
}

// isolation returns the longest one in force around a.
func (v *view) isolation(a netip.Addr, now time.Time) *shivx.Isolation {
	var single *shivx.Isolation
	if key := addrKey(a); key != 0 {
		single = v.exact.get(key)
	}
	inForce := single != nil && single.InForce(now)
	if inForce && (a.Is4() || v.networks.Size6() == 0) {
		return single
	}
	if v.networks.Contains(a) {
		for p, i := range v.networks.Supernets(netip.PrefixFrom(a, a.BitLen())) {
			if inForce && p.Bits() < 64 {
				break
			}
			if i.InForce(now) {
				return i
			}
		}
	}
	if inForce {
		return single
	}
	return nil
}

// Get returns the isolation of exactly this source, in force or not.
func (s *Set) Get(p netip.Prefix) (shivx.Isolation, bool) {
	v, p := s.view.Load(), p.Masked()
	i, _ := v.networks.Get(p)
	if key := exactKey(p); key != 0 {
		i = v.exact.get(key)
	}
	if i == nil {
		return shivx.Isolation{}, false
	}
	return *i, true
}

// All returns the isolations, in force or not, in no order.
func (s *Set) All() []shivx.Isolation {
	v := s.view.Load()
	all := make([]shivx.Isolation, 0, s.Len())
	for _, i := range v.exact.all() {
		all = append(all, *i)
	}
	for _, i := range v.networks.All() {
		all = append(all, *i)
	}
	return all
}

// Len is how many isolations there are, in force or not.
func (s *Set) Len() int { return int(s.count.Load()) }

// Allows says whether the whole of p is on the allow list.
func (s *Set) Allows(p netip.Prefix) bool { return s.view.Load().allow.LookupPrefix(p.Masked()) }
