package capture

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shivx/shivx/internal/golden/format"
)

// run is one capture under way.
type run struct {
	options Options
	plan    plan
	sink    Sink
	devices *devices
	links   *links
	blocks  *blocks
	prev    *previous
	start   time.Time
	rounds  int
	workers int

	// work and order pass on the same batches, to the workers and to the sink; free takes them back.
	work, order, free chan *batch

	// ctx ends with the capture; fail ends it with a reason.
	ctx  context.Context
	fail context.CancelCauseFunc

	// read is counted by workers, the others by the goroutine that feeds the sink.
	read, entries, files, bytes atomic.Int64
	result                      Result
	// last reads what is left to the goroutine that feeds the sink; nil as long as nothing is.
	last *worker
}

const defaultRounds = 3

func newRun(sink Sink, o Options) (*run, error) {
	p, err := newPlan(o)
	if err != nil {
		return nil, err
	}
	if o.now == nil {
		o.now = time.Now
	}
	r := &run{options: o, plan: p, sink: sink, devices: newDevices(p.devices), links: newLinks(), prev: newPrevious()}
	r.rounds, r.workers = o.Rounds, o.Workers
	if r.rounds <= 0 {
		r.rounds = defaultRounds
	}
	if r.workers <= 0 {
		r.workers = max(2, runtime.GOMAXPROCS(0))
	}
	r.blocks = newBlocks(r.workers)
	r.work, r.order = make(chan *batch, windowSize), make(chan *batch, windowSize)
	r.free = make(chan *batch, windowSize)
	for range windowSize {
		r.free <- newBatch()
	}
	r.result = Result{Roots: p.roots, Missing: p.missing}
	return r, nil
}

// run starts the goroutines, feeds the sink, and ends after all of them.
func (r *run) run(ctx context.Context) (Result, error) {
	r.ctx, r.fail = context.WithCancelCause(ctx)
	defer r.fail(nil)
	r.start = r.options.now()
	var workers, others sync.WaitGroup
	others.Go(func() { r.prev.feed(r.ctx, r.options.Previous) })
	stop := make(chan struct{})
	if r.options.Progress != nil {
		others.Go(func() { r.report(stop) })
	}
	workers.Go(r.walk)
	for range r.workers {
		workers.Go(r.serve)
	}
	r.feed()
	workers.Wait()
	err := context.Cause(r.ctx) //nolint:contextcheck // it is a child of ctx
	r.fail(nil)
	close(stop)
	others.Wait()
	r.count()
	return r.result, err
}

// feed gives the sink what becomes of the batches, in order.
func (r *run) feed() {
	for b := range r.order {
		<-b.done
		for i := range b.items {
			if r.ctx.Err() == nil {
				r.stop(r.emit(&b.items[i]))
			}
		}
		b.reset()
		r.free <- b // never waits: there are no more batches than fit
	}
	if r.last != nil {
		r.stop(r.last.close())
	}
}

// stop ends the capture if err is not nil. The first error is the reason.
func (r *run) stop(err error) {
	if err != nil {
		r.fail(err)
	}
}

// walk fills batches until the roots are done.
func (r *run) walk() {
	defer close(r.order)
	defer close(r.work)
	ahead := make(chan *listing, aheadTotal)
	var listers sync.WaitGroup
	defer listers.Wait()
	defer close(ahead)
	for range r.workers {
		listers.Go(func() { newLister(&r.plan, r.devices, r.options.trace).serve(ahead) })
	}
	w := &walker{
		plan: &r.plan, lister: newLister(&r.plan, r.devices, r.options.trace),
		prev: r.prev, ahead: ahead, free: r.free, send: r.send,
	}
	r.stop(w.run(r.ctx))
}

// send passes a batch to the workers and to the sink. Neither waits: there are no more batches than fit.
func (r *run) send(b *batch) {
	b.done = make(chan struct{})
	r.work <- b
	r.order <- b
}

// serve works on batches, and on the blocks of other workers' files, until both are done.
func (r *run) serve() {
	w := newWorker(r)
	defer func() { r.stop(w.close()) }()
	work := r.work
	for {
		select {
		case b, ok := <-work:
			if !ok {
				work = nil
				r.blocks.leave()
				continue
			}
			for i := range b.items {
				if r.ctx.Err() == nil {
					r.stop(w.do(&b.items[i], false))
				}
			}
			close(b.done)
		case k := <-r.blocks.jobs:
			w.block(k)
		case <-r.blocks.over:
			return
		}
	}
}

// reportEvery is how often progress is told.
const reportEvery = 100 * time.Millisecond

// report tells of the progress until stop is closed, and once more then.
func (r *run) report(stop <-chan struct{}) {
	ticks := time.NewTicker(reportEvery)
	defer ticks.Stop()
	for going := true; going; {
		select {
		case <-ticks.C:
		case <-stop:
			going = false
		}
		r.options.Progress(Progress{Entries: r.entries.Load(), Files: r.files.Load(), Bytes: r.bytes.Load(), Read: r.read.Load()})
	}
}

// count puts the figures in the result; nothing runs any more.
func (r *run) count() {
	r.result.Entries, r.result.Files, r.result.Bytes = r.entries.Load(), r.files.Load(), r.bytes.Load()
	r.result.Read, r.result.PreviousErr = r.read.Load(), r.prev.err
}

// emit gives the sink what became of an item.
func (r *run) emit(it *item) error {
	if it.links > 1 {
		if err := r.link(it); err != nil {
			return err
		}
	}
	r.note(it)
	if it.out == nil {
		return nil
	}
	if err := r.sink.Entry(it.out); err != nil {
		return err
	}
	r.entries.Add(1)
	if it.out.Type == format.TypeFile {
		r.files.Add(1)
		r.bytes.Add(it.out.Size)
		if it.out == &it.prev {
			r.result.Unchanged++
		}
	}
	return nil
}
