package host

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/shivx/shivx/plugins/proto"
	"github.com/shivx/shivx/plugins/sdk"
)

const (
	// maxProcesses of one plugin at a time; further steps wait.
	maxProcesses = 8
	// startTimeout is the time a plugin has from its start to its first answer.
	startTimeout = 20 * time.Second
	// grace is the time a plugin has from the end of its step's context, or from being asked to
	// end, until it is killed.
	grace = 2 * time.Second
)

// external is a plugin in processes of its own.
type external struct {
	spec Spec
	log  *slog.Logger
	out  *outputLog
	// slots holds one token for each process under way.
	slots chan struct{}

	mu        sync.Mutex
	described *sdk.Description
	idle      *process
	live      map[*process]struct{}
	closed    bool
	ending    sync.WaitGroup
}

var _ Runner = (*external)(nil)

func newExternal(spec Spec, log *slog.Logger) *external {
	return &external{
		spec: spec, log: log, out: newOutputLog(log), slots: make(chan struct{}, maxProcesses),
		live: map[*process]struct{}{},
	}
}

// Describe returns what the plugin said of itself when it was first started.
func (x *external) Describe() sdk.Description {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.described == nil {
		return sdk.Description{Name: x.spec.Name}
	}
	return *x.described
}

// prepare starts the plugin once to learn what it is.
func (x *external) prepare(ctx context.Context) error {
	x.mu.Lock()
	known := x.described != nil
	x.mu.Unlock()
	if known {
		return nil
	}
	p, err := x.acquire(ctx)
	if err != nil {
		return err
	}
	x.release(p, true)
	return nil
}

// Run does one step in a process that does nothing else meanwhile.
func (x *external) Run(ctx context.Context, step sdk.Step, req sdk.Request) (sdk.Reply, error) {
	req = req.Folders(ctx)
	p, err := x.acquire(ctx)
	if err != nil {
		return sdk.Reply{}, err
	}
	reply, sound, err := p.run(ctx, step, req)
	x.release(p, sound)
	return reply, err
}

// acquire takes the idle process or starts one.
func (x *external) acquire(ctx context.Context) (*process, error) {
	select {
	case x.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, x.fail(ctx.Err(), "all its processes stayed busy", "other steps of this plugin take long; see `shivx runs`")
	}
	p, err := x.take(ctx)
	if err != nil {
		<-x.slots
	}
	return p, err
}

func (x *external) take(ctx context.Context) (*process, error) {
	x.mu.Lock()
	p, closed := x.idle, x.closed
	x.idle = nil
	x.mu.Unlock()
	if closed {
		return nil, x.fail(nil, "the agent is ending", "")
	}
	if p != nil {
		if p.alive() {
			return p, nil
		}
		x.bury(p, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, err := x.start(ctx)
	if err != nil {
		return nil, err
	}
	d, err := p.rpc.Describe(ctx, &proto.DescribeRequest{})
	if err != nil {
		err = p.broken(err, "its description")
		x.bury(p, 0)
		return nil, err
	}
	x.mu.Lock()
	description := descriptionOf(d)
	x.described = &description
	x.mu.Unlock()
	return p, nil
}

// start starts a process unless the set is closed; every process that lives is in x.live.
func (x *external) start(ctx context.Context) (*process, error) {
	if err := x.spec.check(); err != nil {
		return nil, err
	}
	p := newProcess(x)
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return nil, x.fail(nil, "the agent is ending", "")
	}
	x.live[p] = struct{}{}
	x.ending.Add(1)
	x.mu.Unlock()
	if err := p.start(ctx); err != nil {
		x.bury(p, 0)
		return nil, err
	}
	return p, nil
}

// bury ends p, kills it after the time given, and forgets it once it is gone.
func (x *external) bury(p *process, after time.Duration) {
	p.end(after)
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.live[p]; known {
		delete(x.live, p)
		x.ending.Done()
	}
}

// release keeps a sound process for the next step and ends any other. The slot is given back
// when the process is idle or gone.
func (x *external) release(p *process, sound bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if sound && !x.closed && x.idle == nil && p.alive() {
		x.idle = p
		<-x.slots
		return
	}
	go func() {
		x.bury(p, grace)
		<-x.slots
	}()
}

// close ends all processes and waits until they are gone.
func (x *external) close() {
	x.mu.Lock()
	x.closed = true
	x.idle = nil
	var burials sync.WaitGroup
	for p := range x.live {
		burials.Go(func() { x.bury(p, grace) })
	}
	x.mu.Unlock()
	burials.Wait()
	x.ending.Wait()
	x.out.flush()
}

// fail makes an error about the plugin as such.
func (x *external) fail(cause error, message, hint string) *sdk.Fail {
	return &sdk.Fail{Message: "plugin " + x.spec.Name + ": " + message, Hint: hint, Err: cause}
}
