package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/shivx/shivx"
)

// How many heads of each ledger a witness keeps: the first, and the latest ones.
const witnessed = 100

// WitnessInput is the state with which a witness starts or goes on after continue-as-new.
type WitnessInput struct {
	Host  string             `json:"host"`
	Heads []shivx.LedgerHead `json:"heads,omitempty"`
}

// LedgerWitness keeps the signed heads of the ledgers of one host outside that host, and takes
// none that contradicts an earlier one: a ledger that was cut, rewritten or replaced by an old
// copy does not match its witness any more.
func LedgerWitness(ctx workflow.Context, in WitnessInput) error {
	w := &witness{in}
	if in.Host == "" {
		return badInput(`a LedgerWitness needs {"host":"HOST"}`)
	}
	err := workflow.SetQueryHandlerWithOptions(ctx, shivx.QueryHeads, func() ([]shivx.LedgerHead, error) { return w.Heads, nil },
		workflow.QueryHandlerOptions{Description: "Signed heads, oldest first."})
	if err != nil {
		return err
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, shivx.UpdateWitness, w.add, workflow.UpdateHandlerOptions{
		Description: "Keep a signed head; refused when it contradicts an earlier one.", Validator: w.check,
	})
	if err != nil {
		return err
	}
	err = workflow.Await(ctx, func() bool {
		return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx)
	})
	if err != nil {
		return err
	}
	return workflow.NewContinueAsNewError(ctx, shivx.TypeLedgerWitness, w.WitnessInput)
}

type witness struct{ WitnessInput }

// check refuses a head that goes back, or that differs from one of the same length.
func (w *witness) check(h shivx.LedgerHead) error {
	for _, old := range w.Heads {
		if old.Ledger != h.Ledger {
			continue
		}
		switch {
		case old.Genesis != h.Genesis:
			return contradiction("ledger %s began with the key %s, now it says %s: it was replaced", h.Ledger, old.Genesis, h.Genesis)
		case old.Seq > h.Seq:
			return contradiction("ledger %s reached record %d, now it ends at %d: it was cut or an old copy put back", h.Ledger, old.Seq, h.Seq)
		case old.Seq == h.Seq && old.Hash != h.Hash:
			return contradiction("record %d of ledger %s has another hash now: it was rewritten", h.Seq, h.Ledger)
		}
	}
	return nil
}

func contradiction(format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), "Contradiction", nil)
}

// add keeps the head; of each ledger the first and the latest ones remain.
func (w *witness) add(ctx workflow.Context, h shivx.LedgerHead) (int, error) {
	for _, old := range w.Heads {
		if old.Ledger == h.Ledger && old.Seq == h.Seq {
			return len(w.Heads), nil
		}
	}
	w.Heads = append(w.Heads, h)
	second, n := -1, 0
	for i, old := range w.Heads {
		if old.Ledger == h.Ledger {
			if n++; n == 2 {
				second = i
			}
		}
	}
	if n > witnessed {
		w.Heads = append(w.Heads[:second:second], w.Heads[second+1:]...)
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("### Witness of the ledgers of %s\n\nLatest: `%s`, record %d, `%s`", w.Host, h.Ledger, h.Seq, h.Hash))
	return len(w.Heads), nil
}
