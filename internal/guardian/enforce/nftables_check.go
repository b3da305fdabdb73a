package enforce

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// lag is by how much an element may end before its term is over by our clock.
const lag = 2 * time.Second

// compareAll is up to how many sources everything is compared, sampled how many of more are looked up: the
// kernel's time to list a set grows with the square of its size (10 ms for 10,000, 0.6 s for 100,000).
const compareAll, sampled = 20_000, 2000

// tableDormant is the flag of a table whose chains are switched off.
const tableDormant = 1

// remember takes down the rules as they are after a change of ours, which is to be verified.
func (n *Nftables) remember(ctx context.Context) error {
	var err error
	n.rules, err = n.handles(ctx)
	n.verified = 0
	return err
}

// next keeps in mind after a change of elements that nobody else has changed anything since what was
// verified: the generation has grown by one.
func (n *Nftables) next(ctx context.Context) error {
	if n.verified == 0 {
		return nil
	}
	now, err := n.generation(ctx)
	if n.verified++; err != nil || now != n.verified {
		n.verified = 0
	}
	return err
}

// intact asks the kernel whether the table and its rules are as they were made.
func (n *Nftables) intact(ctx context.Context) error {
	flags, err := n.flags(ctx)
	switch {
	case errors.Is(err, unix.ENOENT):
		return n.damaged("it is gone")
	case err != nil:
		return err
	case flags&tableDormant != 0:
		return n.damaged("it is switched off (dormant)")
	}
	now, err := n.handles(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(now, n.rules) {
		return n.damaged(fmt.Sprintf("its rules are not those that were made (%d, there were %d)", len(now), len(n.rules)))
	}
	return nil
}

func (n *Nftables) damaged(what string) error {
	return shivx.Hint(fmt.Errorf("the nftables table inet %s was changed by somebody else: %s", n.o.Table, what),
		"it is made anew; find out what runs nft flush ruleset, such as a restart of nftables.service")
}

// Holds says whether packets of the whole of p are dropped: the rules are there, and p or a network
// around it is in a set, or a lockdown has not ended; what is on the allow list is never held.
func (n *Nftables) Holds(ctx context.Context, p netip.Prefix) (bool, error) {
	p = p.Masked()
	if !n.made || allowTable(n.allow).OverlapsPrefix(p) {
		return false, nil
	}
	if err := n.intact(ctx); err != nil {
		return false, err
	}
	if n.lockdown.On {
		if there, err := n.refuses(ctx, familyOf(p)); err != nil || there {
			return there, err
		}
	}
	for key := range n.sets {
		if key.purpose != blocked || key.v4 != p.Addr().Is4() || key.bits > p.Bits() {
			continue
		}
		wider := netip.PrefixFrom(p.Addr(), key.bits).Masked()
		if there, err := n.has(ctx, key, wider); err != nil || there {
			return there, err
		}
	}
	return false, nil
}

// Verify compares the kernel's table with what was given. When nobody else has changed any table since
// the last time it asks a single question; otherwise it reads the rules and the sets, or of more than
// 20,000 sources the rules, the allow list and a sample.
func (n *Nftables) Verify(ctx context.Context) error {
	if !n.made {
		return nil
	}
	gen, err := n.generation(ctx)
	if err != nil {
		return err
	}
	if n.verified != 0 && gen == n.verified {
		return nil
	}
	if err := n.intact(ctx); err != nil {
		return err
	}
	if err := n.lockdownHolds(ctx); err != nil {
		return err
	}
	compare := n.complete
	if n.held.Size() > compareAll {
		compare = n.spotCheck
	}
	if err := compare(ctx); err != nil {
		// A set that grows while it is read may show an element twice or not at all.
		if err = compare(ctx); err != nil {
			return err
		}
	}
	n.verified = gen
	return nil
}

// spotCheck looks a sample of the sources up.
func (n *Nftables) spotCheck(ctx context.Context) error {
	soon := time.Now().Add(lag).UnixMilli()
	step := n.held.Size() / sampled
	skip := rand.IntN(step)
	for p, until := range n.held.All() {
		if skip--; skip >= 0 || until != 0 && until <= soon {
			continue
		}
		skip = step
		there, err := n.has(ctx, setKey{blocked, p.Addr().Is4(), p.Bits()}, p)
		if err != nil {
			return err
		}
		if !there {
			return n.damaged("the source " + shivx.SourceString(p) + " is missing")
		}
	}
	return n.allowHolds(ctx)
}

// allowHolds compares the sets of the allow list.
func (n *Nftables) allowHolds(ctx context.Context) error {
	want := map[netip.Prefix]bool{}
	for _, p := range n.allow {
		want[p.Masked()] = true
	}
	strange := 0
	for key := range n.sets {
		if key.purpose != allowed {
			continue
		}
		err := n.dump(ctx, key, func(p netip.Prefix) {
			if !want[p] {
				strange++
			}
			delete(want, p)
		})
		if err != nil {
			return err
		}
	}
	if len(want) != 0 || strange != 0 {
		return n.damaged(fmt.Sprintf("on its allow list %d are missing, %d are too many", len(want), strange))
	}
	return nil
}

// complete reads all sets and counts what is missing and what nobody gave.
func (n *Nftables) complete(ctx context.Context) error {
	if err := n.allowHolds(ctx); err != nil {
		return err
	}
	soon := time.Now().Add(lag).UnixMilli()
	inForce := func(until int64) bool { return until == 0 || until > soon }
	missing, strange := 0, 0
	for _, until := range n.held.All() {
		if inForce(until) {
			missing++
		}
	}
	for key := range n.sets {
		if key.purpose != blocked {
			continue
		}
		err := n.dump(ctx, key, func(p netip.Prefix) {
			switch until, known := n.held.Get(p); {
			case !known:
				strange++
			case inForce(until):
				missing--
			}
		})
		if err != nil {
			return err
		}
	}
	if missing != 0 || strange != 0 {
		return n.damaged(fmt.Sprintf("%d sources are missing, %d are too many", missing, strange))
	}
	return nil
}
