// Package guardian finds attackers on one host and keeps them out.
//
// Data flows one way: inputs (ingest, the HTTP interface, integrity, abuse) give events, the detector
// turns them into threats, a threat of the level high or critical blocks its source at once (enforce),
// and then it is recorded in the guardian's audit, from where an outbox tells Temporal. Nothing here
// waits for Temporal, and no block waits for a disk: security fails closed.
//
// What is in force is derived from the audit (state.go): after a restart the audit is read from a
// saved point on. How far each log was read is saved together with what the detector knew by then
// (checkpoint.go), so that after a crash the same lines give the same decisions, whose identical names
// keep them from being carried out or recorded twice.
package guardian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/abuse"
	"github.com/shivx/shivx/internal/guardian/detect"
	"github.com/shivx/shivx/internal/guardian/enforce"
	"github.com/shivx/shivx/internal/guardian/ingest"
	"github.com/shivx/shivx/internal/guardian/integrity"
	"github.com/shivx/shivx/internal/ledger"
)

// Options of New.
type Options struct {
	Host  string
	Rules config.Guardian
	// Ledger is the guardian's audit, LedgerPath its file.
	Ledger     *ledger.Ledger
	LedgerPath string
	// Dir is where the guardian keeps its own files.
	Dir string
	// Root is where the host's /proc and /sys are seen.
	Root string
	// Enforcers keep sources out beside what is decided in memory.
	Enforcers []enforce.Enforcer
	// Tell tells people what needs one of them.
	Tell   func(message, hint string)
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Guardian guards one host.
type Guardian struct {
	o     Options
	log   *slog.Logger
	allow []netip.Prefix
	// proxies are never isolated: what their logs say of them is said of their clients.
	proxies []netip.Prefix

	inputs *ingest.Inputs
	watch  *integrity.Watch
	abuse  *abuse.Watch

	set    *enforce.Set
	board  *enforce.Board
	stream *enforce.Stream

	// mu orders everything that changes: events, decisions, what people ask for, what the fleet says.
	mu        sync.Mutex
	detector  *detect.Detector
	state     state
	positions map[string]ingest.Position
	leaks     map[netip.Prefix]*leak
	tightened bool
	told      map[topic]told
	// saving is held while a checkpoint is saved.
	saving sync.Mutex
	// moved is true when events were handled that no checkpoint holds yet.
	moved     bool
	decisions []detect.Decision
	nextEnd   time.Time // no isolation ends before it
	// unseen are the findings about watched files of before the start that were not told anew yet.
	unseen map[string]string
	// fleetRestored is when the fleet's lockdown was ended last, perhaps by a clock that is ahead: one that
	// begins here later is not ended by it.
	fleetRestored time.Time

	records recorder
	wake    chan struct{}
	// fresh has sources that were isolated just now, to check that it bites.
	fresh chan netip.Prefix
	begun time.Time
}

// New reads what is in force from the audit. Nothing runs yet, and nothing is enforced but what Check
// answers.
func New(o Options) (*Guardian, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Root == "" {
		o.Root = "/"
	}
	g := &Guardian{
		o: o, log: o.Logger, allow: allowed(o.Rules.Allow), proxies: prefixes(o.Rules.TrustedProxies), positions: map[string]ingest.Position{},
		leaks: map[netip.Prefix]*leak{}, wake: make(chan struct{}, 1), fresh: make(chan netip.Prefix, 64), told: map[topic]told{}, begun: o.Now(),
	}
	g.records.init(o.Ledger, o.Logger)
	if err := g.restoreState(); err != nil {
		return nil, fmt.Errorf("read what is in force: %w", err)
	}
	g.unseen = maps.Clone(g.state.Tampered)
	if err := g.build(); err != nil {
		return nil, err
	}
	g.resume()
	return g, nil
}

// loopback is never refused: the host would cut itself off.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// allowed returns the allow list with loopback; the configuration was checked.
func allowed(list []string) []netip.Prefix {
	return append(prefixes(list), loopback...)
}

func prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		if p, err := shivx.ParseSource(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// spared says whether nobody is kept out for what logs say of p: it is allowed, a proxy or a network with
// one in it, or many strangers share it.
func spared(set *enforce.Set, proxies []netip.Prefix, p netip.Prefix) bool {
	return set.Allows(p) || slices.ContainsFunc(proxies, p.Overlaps) || sharedByMany(p)
}

// maxIsolations bounds the memory that isolations take.
const maxIsolations = 500_000

// sharedByMany says whether a source stands for strangers: behind NAT64 all of IPv4 has one /64, as all
// clients of one Teredo server, and link-local addresses are of the own link.
func sharedByMany(p netip.Prefix) bool {
	return slices.ContainsFunc([]netip.Prefix{
		netip.MustParsePrefix("64:ff9b::/32"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::/64"),
	}, p.Overlaps)
}

// build makes the parts that need no decision yet.
func (g *Guardian) build() error {
	var err error
	g.detector, err = detect.New(detect.Options{Rules: g.o.Rules.Rules, Host: g.o.Host, Seed: seed()})
	if err != nil {
		return fmt.Errorf("build the detector: %w", err)
	}
	g.set = enforce.NewSet(g.allow)
	g.stream = enforce.NewStream(streamKept)
	g.board = enforce.NewBoard(g.o.Enforcers, enforce.BoardOptions{Logger: g.log, OnTrouble: g.enforcerTrouble, State: g.enforced})
	g.loadCheckpoint()
	g.inputs, err = ingest.New(ingest.Options{
		Logs: g.o.Rules.Logs, Syslog: g.o.Rules.Syslog, Handle: g.handle, Positions: g.positions, Logger: g.log,
		Trouble: g.logTrouble, Now: g.o.Now, Trusted: prefixes(g.o.Rules.TrustedProxies),
	})
	if err != nil {
		return fmt.Errorf("open the logs: %w", err)
	}
	if len(g.o.Rules.Integrity.Paths) > 0 {
		root, err := g.anchor()
		if err != nil {
			return fmt.Errorf("look for the recorded baseline: %w", err)
		}
		g.watch, err = integrity.Open(integrity.Options{
			Rules: g.o.Rules.Integrity, Dir: filepath.Join(g.o.Dir, "integrity"), Anchor: root,
			Found: g.tampered, Record: g.recordIntegrity, Logger: g.log, Now: g.o.Now,
		})
		if err != nil {
			return fmt.Errorf("open the baseline of watched files: %w", err)
		}
	}
	if len(g.o.Rules.Budgets) > 0 {
		g.abuse, err = abuse.New(abuse.Options{
			Root: g.o.Root, Budgets: g.o.Rules.Budgets, Dir: g.o.Dir, Host: g.o.Host, Report: g.abused, Logger: g.log, Now: g.o.Now})
		if err != nil {
			return fmt.Errorf("watch the budgets: %w", err)
		}
	}
	return nil
}

// streamKept is how many changes are kept for bouncers that ask from time to time.
const streamKept = 200_000

// Run guards until ctx ends.
func (g *Guardian) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	go g.records.run(running) // not awaited: a disk may hang
	group.Go(func() error { g.board.Run(running); return nil })
	group.Go(func() error { g.keepTime(running); return nil })
	group.Go(func() error { g.save(running); return nil })
	group.Go(func() error { g.checkBites(running); return nil })
	group.Go(func() error { return g.inputs.Run(running) })
	if g.watch != nil {
		group.Go(func() error { return g.watch.Run(running) })
		group.Go(func() error { g.forgetMended(running); return nil })
	}
	if g.abuse != nil {
		group.Go(func() error { return g.abuse.Run(running) })
	}
	err := group.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, g.end()) //nolint:contextcheck // what was begun is written down
}

// end writes down what is still to be recorded, and where the logs were left.
func (g *Guardian) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	go g.records.flush(ctx, math.MaxUint64)
	g.records.await(ctx, g.records.mark())
	err := errors.Join(g.saveCheckpoint(ctx), g.saveState())
	for _, e := range g.o.Enforcers {
		if c, ok := e.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

const (
	endTimeout = 5 * time.Second
	// checkpointEvery is how much of the logs is read again after a crash, at most.
	checkpointEvery = 5 * time.Second
	// stateEvery is how much of the audit is read again at a start.
	stateEvery = 5 * time.Minute
)

// keepTime ends terms and modes. It waits for no disk.
func (g *Guardian) keepTime(ctx context.Context) {
	for {
		due := time.NewTimer(max(time.Until(g.due()), tickLeast))
		select {
		case <-ctx.Done():
			due.Stop()
			return
		case <-due.C:
		case <-g.wake:
		}
		due.Stop()
		g.tick()
	}
}

// tickLeast is the shortest time between two looks at what is over.
const tickLeast = 50 * time.Millisecond

// awaken makes keepTime look what is due next.
func (g *Guardian) awaken() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// save saves the place in the logs and the state from time to time.
func (g *Guardian) save(ctx context.Context) {
	checkpoints, states := time.NewTicker(checkpointEvery), time.NewTicker(stateEvery)
	defer checkpoints.Stop()
	defer states.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-checkpoints.C:
			g.complain("the place in the logs is not saved", g.saveCheckpoint(ctx))
		case <-states.C:
			g.complain("the state is not saved; the audit has it all the same", g.saveState())
		}
	}
}

func (g *Guardian) complain(what string, err error) {
	if err != nil {
		g.log.Warn(what, "error", err, "hint", shivx.HintOf(err))
	}
}

// recorded waits a little for what was just put in force to be on disk, before a person is told of it.
func (g *Guardian) recorded(ctx context.Context) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordPatience)
	defer cancel()
	if !g.records.await(limited, g.records.mark()) {
		g.log.Warn("what was asked for is in force and not yet on disk: a crash of the machine could undo it")
	}
}

// recordPatience is how long a person waits for the disk.
const recordPatience = 2 * time.Second
