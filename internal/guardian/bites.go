package guardian

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/shivx/shivx"
)

// settleTimeout is how long enforcers may take until an isolation must bite.
const settleTimeout = 5 * time.Second

// checkBites asks the enforcers themselves whether they keep out who was isolated just now. What arrives
// all the same shows in the logs (see leaked).
func (g *Guardian) checkBites(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-g.fresh:
			g.checkBite(ctx, p)
		}
	}
}

func (g *Guardian) checkBite(ctx context.Context, p netip.Prefix) {
	limited, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	_ = g.board.Settled(limited) // what has failed is told by enforcerTrouble; Holds asks those that work
	if slices.ContainsFunc(g.allow, p.Overlaps) {
		return // it is not to be kept out as a whole
	}
	works := map[string]bool{}
	for _, e := range g.board.Status() {
		works[e.Name] = e.OK
	}
	var lax []string
	for name, holds := range g.board.Holds(limited, p) {
		if !holds && works[name] {
			lax = append(lax, name)
		}
	}
	i, held := g.Isolation(p)
	if len(lax) == 0 || !held || ctx.Err() != nil {
		return
	}
	slices.Sort(lax)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ineffective(i, g.o.Now(), map[string]any{"enforcers_without_it": lax},
		"see the enforcers in shivx guardian status; the guardian gives them everything anew every 30 s")
}

// ineffective records, once for each isolation, that it does not bite. The caller holds mu.
func (g *Guardian) ineffective(i shivx.Isolation, at time.Time, evidence map[string]any, hint string) {
	t := shivx.Threat{
		ID:   fmt.Sprintf("threat/%s/%s/%s/%d", g.o.Host, shivx.ThreatIneffective, i.Source, i.Since.UnixNano()),
		Host: g.o.Host, Type: shivx.ThreatIneffective, Level: shivx.ThreatMedium, Source: i.Source, At: at.UTC(),
		Reason:   fmt.Sprintf("%s is isolated since %s and not kept out", i.Source, i.Since.UTC().Format(time.RFC3339)),
		Evidence: evidence,
	}
	if g.o.Ledger.Has(t.ID) {
		return
	}
	g.recordThreat(t, shivx.ActionNone, nil)
	g.tell(aboutBlocks, t.Reason, hint)
}
