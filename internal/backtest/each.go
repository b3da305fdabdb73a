package backtest

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Judge runs measures on all processors.
type Judge struct {
	// Done is called from several goroutines with each series that was judged.
	Done func()
}

// each calls f with 0 to n-1, on all processors.
func (j Judge) each(ctx context.Context, n int, f func(i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(i); err != nil {
				return err
			}
			if j.Done != nil {
				j.Done()
			}
			return nil
		})
	}
	return g.Wait()
}
