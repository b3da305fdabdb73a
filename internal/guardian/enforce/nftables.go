package enforce

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx"
)

// ErrNoNetAdmin is the error when the kernel does not let this process at nftables.
var ErrNoNetAdmin = errors.New("nftables cannot be had: it takes the capability CAP_NET_ADMIN, and nf_tables in the kernel")

// Nftables keeps sources out at the packet level, for this host and for all that it forwards to.
//
// It has a table of its own in the family inet. A chain at the hook prerouting, before connection
// tracking, drops what comes from an isolated source, so that its established connections are cut
// as well and nothing is remembered about it. There is a hash set for each length of prefix that is in
// use, with the mask in the rule: lookups take the same time for any number of sources, and networks
// within networks do not collide, which an interval set would refuse. The kernel ends each block by
// itself; those without a term stay until they are dropped, also when this process has ended.
//
// A lockdown is further chains, made and removed in one transaction, which do nothing any more when its
// end is over; see lockdownChains.
//
// What a bridge forwards within one link is not seen, unless br_netfilter is on.
type Nftables struct {
	o     NftablesOptions
	table *nftables.Table
	// made says that the table is there, as far as is known.
	made bool
	// held is what was given, to the end of its term in milliseconds since 1970; 0: it has none.
	held     *bart.Table[int64]
	sets     map[setKey]*nftables.Set
	allow    []netip.Prefix
	lockdown Lockdown
	// rules are the handles of all rules after the last change of them.
	rules []uint64
	// verified is the last generation of the ruleset that is known to be right; 0: none.
	verified uint32
	sockets  sockets
}

// NftablesOptions of NewNftables.
type NftablesOptions struct {
	// Table is the name of the table; nothing else may use it.
	Table string
	// Logger may be nil.
	Logger *slog.Logger
	// Auto makes the table when there is something to enforce for the first time, not before.
	Auto bool
	// NetNS is a file descriptor of the network namespace; 0: that of the process.
	NetNS int
}

var (
	_ Checker  = (*Nftables)(nil)
	_ Verifier = (*Nftables)(nil)
)

// NewNftables returns the enforcer; it changes nothing yet. Without Auto the kernel is asked whether it
// lets this process at nftables: if it does not, the error is ErrNoNetAdmin, with a hint. With Auto that
// is the error of the first change that has something to enforce.
func NewNftables(o NftablesOptions) (*Nftables, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Nftables{
		o: o, table: &nftables.Table{Name: o.Table, Family: nftables.TableFamilyINet},
		held: &bart.Table[int64]{}, sets: map[setKey]*nftables.Set{}, allow: loopback(),
		sockets: sockets{netns: o.NetNS},
	}
	if o.Auto {
		return n, nil
	}
	if _, err := n.generation(context.Background()); err != nil {
		return nil, n.failed("open", err)
	}
	return n, nil
}

// failed says for an operator what did not work.
func (n *Nftables) failed(what string, err error) error {
	switch {
	case unable(err):
		return shivx.Hint(fmt.Errorf("%s the nftables table %s: %w: %w", what, n.o.Table, ErrNoNetAdmin, err),
			"give the agent AmbientCapabilities=CAP_NET_ADMIN in its systemd unit, load the kernel module nf_tables, "+
				"or set guardian.nftables.enabled to off")
	case err != nil:
		return fmt.Errorf("%s the nftables table %s: %w", what, n.o.Table, err)
	}
	return nil
}

// unable says whether nftables cannot be had at all.
func unable(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) ||
		errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)
}

// Close closes the connection to the kernel. The table stays: each block ends with its term, a lockdown
// at its end, and those without one stay until somebody removes the table.
func (n *Nftables) Close() error { return n.sockets.close() }

// Name is "nftables".
func (n *Nftables) Name() string { return "nftables" }

// Entries is how many sources are held, those included whose term has ended since they were put.
func (n *Nftables) Entries() int { return n.held.Size() }

// Replace makes the table anew, whatever is there, in one transaction: there is no moment without
// protection. With Auto and nothing to enforce a table of an earlier run is removed instead.
func (n *Nftables) Replace(ctx context.Context, s State) error {
	began := time.Now()
	n.made, n.lockdown, n.verified, n.rules = false, s.Lockdown.current(began), 0, nil
	n.held, n.sets = &bart.Table[int64]{}, map[setKey]*nftables.Set{}
	n.allow = append(loopback(), s.Allow...)
	puts := n.elements(s.Isolations, began)
	if n.o.Auto && len(puts) == 0 && !n.lockdown.On {
		if err := n.Remove(ctx); !errors.Is(err, ErrNoNetAdmin) {
			return err
		}
		return nil // and without the right there is no table of ours
	}
	conn, err := n.sockets.transaction(ctx)
	if err == nil {
		conn.AddTable(n.table) // so that there is one to delete
		conn.DelTable(n.table)
		conn.AddTable(n.table)
		err = n.build(conn, puts)
	}
	if err := n.sockets.settle(err); err != nil {
		return n.failed("replace", err)
	}
	n.made = true
	n.hold(puts, nil)
	n.o.Logger.Info("nftables table replaced", "table", n.o.Table, "sources", len(puts),
		"lockdown", n.lockdown.On, "took", time.Since(began))
	return n.remember(ctx)
}

// build adds what is in the new table to the transaction.
func (n *Nftables) build(conn *nftables.Conn, puts []element) error {
	block := n.blockChain()
	conn.AddChain(block)
	n.addRules(conn, block, wayIn())
	if err := n.buildAllow(conn, block); err != nil {
		return err
	}
	if n.lockdown.On {
		if err := n.addLockdown(conn, n.lockdown); err != nil {
			return err
		}
	}
	return n.put(conn, puts, false)
}

// Apply changes single sources and the lockdown in one transaction.
func (n *Nftables) Apply(ctx context.Context, d Delta) error {
	now := time.Now()
	puts, drops := n.changes(d, now)
	next := n.lockdown
	if d.Lockdown != nil {
		next = d.Lockdown.current(now)
	}
	lockdown := !next.Equal(n.lockdown)
	switch {
	case !n.made && len(puts) == 0 && !next.On:
		return nil // nothing to make a table for
	case !n.made:
		return n.Replace(ctx, State{Isolations: d.Put, Allow: n.allow, Lockdown: next})
	case len(puts) == 0 && len(drops) == 0 && !lockdown:
		return nil
	}
	before := len(n.sets)
	conn, err := n.sockets.transaction(ctx)
	if err == nil {
		if lockdown {
			err = n.changeLockdown(conn, next)
		}
		err = errors.Join(err, n.drop(conn, drops), n.put(conn, puts, true))
	}
	if err := n.sockets.settle(err); err != nil {
		return n.failed("change", err)
	}
	n.lockdown = next
	n.hold(puts, drops)
	if lockdown || len(n.sets) != before {
		return n.remember(ctx)
	}
	return n.next(ctx)
}

// changes sorts a delta into what is put and what is dropped; of several puts of a source the last holds.
func (n *Nftables) changes(d Delta, now time.Time) (puts []element, drops []netip.Prefix) {
	puts = n.elements(d.Put, now)
	for _, p := range d.Drop {
		drops = append(drops, p.Masked())
	}
	for _, i := range d.Put { // a change to a term that is over
		if p, err := shivx.ParseSource(i.Source); err == nil && !i.InForce(now) {
			drops = append(drops, p)
		}
	}
	put := make(map[netip.Prefix]bool, len(puts))
	for _, e := range puts {
		put[e.prefix] = true
	}
	drops = slices.DeleteFunc(drops, func(p netip.Prefix) bool {
		_, known := n.sets[setKey{blocked, p.Addr().Is4(), p.Bits()}]
		return put[p] || !known
	})
	slices.SortFunc(drops, comparePrefix)
	return puts, slices.Compact(drops)
}

// Remove takes the table away, and with it all blocks; one that is not there is no error.
func (n *Nftables) Remove(ctx context.Context) error {
	conn, err := n.sockets.transaction(ctx)
	if err == nil {
		conn.AddTable(n.table)
		conn.DelTable(n.table)
	}
	if err := n.sockets.settle(err); err != nil {
		return n.failed("remove", err)
	}
	n.made, n.lockdown, n.verified, n.rules = false, Lockdown{}, 0, nil
	n.held, n.sets = &bart.Table[int64]{}, map[setKey]*nftables.Set{}
	return nil
}

// hold keeps in mind what the kernel has taken.
func (n *Nftables) hold(puts []element, drops []netip.Prefix) {
	for _, p := range drops {
		n.held.Delete(p)
	}
	for _, e := range puts {
		n.held.Insert(e.prefix, e.until)
	}
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
