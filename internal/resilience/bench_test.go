package resilience

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
	"github.com/shivx/shivx/internal/vitals"
)

const every = 5 * time.Second

// testClock moves when it is told to.
type testClock struct {
	mu      sync.Mutex
	asked   sync.Cond
	wall    time.Time
	elapsed time.Duration
	// timer is the newest one; only the loop of Run asks for them.
	timer chan time.Time
	left  time.Duration
}

func newTestClock() *testClock {
	c := &testClock{wall: time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC), elapsed: time.Hour}
	c.asked.L = &c.mu
	return c
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *testClock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

func (c *testClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer, c.left = make(chan time.Time, 1), d
	c.asked.Broadcast()
	return c.timer
}

func (c *testClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
}

func (c *testClock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// beat waits until the loop waits, lets its time pass, and returns how long that was.
func (c *testClock) beat() time.Duration {
	d := c.idle()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
	c.timer <- c.wall
	c.timer = nil
	return d
}

// idle waits until the loop waits, and returns for how long it is going to.
func (c *testClock) idle() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.timer == nil {
		c.asked.Wait()
	}
	return c.left
}

// faultyLedger is the real ledger with failures on demand.
type faultyLedger struct {
	*ledger.Ledger
	mu sync.Mutex
	// mode is "", "full" (nothing is written), "keyed" (nothing with a key is), "liar" (it is written
	// and an error returned) or "hung".
	mode string
	// after is called after each append that wrote.
	after func(ledger.Record)
}

var errFull = shivx.Hint(errors.New("no space left on device"), "free some space")

func (l *faultyLedger) set(mode string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mode = mode
}

func (l *faultyLedger) Append(ctx context.Context, key string, fields any) (ledger.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.mode == "full", l.mode == "keyed" && key != "":
		return ledger.Record{}, errFull
	case l.mode == "hung":
		<-ctx.Done()
		return ledger.Record{}, ctx.Err()
	}
	before, _ := l.Last()
	rec, err := l.Ledger.Append(ctx, key, fields)
	if err == nil && rec.Seq > before && l.after != nil {
		l.after(rec)
	}
	if l.mode == "liar" {
		return ledger.Record{}, errFull
	}
	return rec, err
}

// world is what hooks do to a host.
type world struct {
	mu  sync.Mutex
	on  map[string]bool
	log []string
	// fail makes "shed NAME" or "restore NAME" fail after, or without, its effect.
	fail map[string]error
	// during is called within each switching.
	during func(ctx context.Context, what string, s Shedding)
	got    []Shedding
	// done are the switchings that succeeded.
	done []Shedding
	undo []bool
}

func newWorld() *world { return &world{on: map[string]bool{}, fail: map[string]error{}} }

func (w *world) Shed(ctx context.Context, s Shedding) (string, error) {
	return w.do(ctx, "shed", s, true)
}

func (w *world) Restore(ctx context.Context, s Shedding) (string, error) {
	return w.do(ctx, "restore", s, false)
}

func (w *world) do(ctx context.Context, verb string, s Shedding, on bool) (string, error) {
	what := verb + " " + s.Hook.Name
	if w.during != nil {
		w.during(ctx, what, s)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	w.log, w.got = append(w.log, what), append(w.got, s)
	if err := w.fail[what]; err != nil {
		return "", err
	}
	w.done, w.undo = append(w.done, s), append(w.undo, !on)
	w.on[s.Hook.Name] = on
	if !on {
		delete(w.on, s.Hook.Name)
	}
	return what + " done", nil
}

// taken returns and forgets the log.
func (w *world) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log
	w.log = nil
	return log
}

// bench is a core over a real ledger; the score is 100 minus its memory.
type bench struct {
	t      testing.TB
	dir    string
	clock  *testClock
	rules  config.Resilience
	ledger *faultyLedger
	world  *world
	flags  string
	boot   string
	core   *Core

	mu      sync.Mutex
	memory  float64
	notices []string
	missing string
	modules []Module
	sampled func() // called in each sample
}

func rules(t testing.TB) config.Resilience {
	t.Helper()
	c := config.Default()
	r := c.Resilience
	r.Score.Curves = []config.Curve{{Resource: "memory", Points: []config.Point{{At: 0, Score: 100}, {At: 100, Score: 0}}}}
	r.Monitor.Every, r.Monitor.RecordEvery, r.Monitor.Timeout = every, time.Minute, 2*time.Second
	r.Levels = config.LevelRules{DownSamples: 2, UpAfter: 10 * time.Second, MaxUpAfter: 10 * time.Second, Margin: 3}
	r.Hooks = nil
	return r
}

func hookOf(name string, level shivx.Level) config.Hook {
	return config.Hook{Name: name, Level: string(level), Use: config.Use{
		Plugin: "script", Options: map[string]any{"big": uint64(1) << 60, "cmd": []any{"stop", "<" + name + ">"}}, Timeout: 5 * time.Second,
	}}
}

func newBench(t testing.TB, change ...func(*bench)) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), clock: newTestClock(), rules: rules(t), world: newWorld()}
	for _, f := range change {
		f(b)
	}
	b.open()
	return b
}

func (b *bench) path() string { return filepath.Join(b.dir, "resilience_audit.ndjson") }

func (b *bench) sample(context.Context) vitals.Sample {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sampled != nil {
		b.sampled()
	}
	return vitals.Sample{
		At: b.clock.Now(), Elapsed: b.clock.Elapsed(), Notices: b.notices,
		Readings: []vitals.Reading{{Resource: vitals.Memory, Percent: b.memory, Missing: b.missing}},
	}
}

func (b *bench) open() {
	b.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	l, err := ledger.Open(b.path(), ledger.Options{HeadEvery: time.Hour, Logger: quiet, MaxBytes: 1 << 20})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = l.Close() })
	b.ledger = &faultyLedger{Ledger: l}
	b.core, err = New(Options{
		Host: "box", Rules: b.rules, Ledger: b.ledger, LedgerPath: b.path(), Sample: b.sample, Shedder: b.world,
		Keep:      filepath.Join(b.dir, "shed"),
		Boot:      b.boot,
		Modules:   func() []Module { return b.modules },
		FlagsFile: b.flags, Logger: quiet, Clock: b.clock,
	})
	require.NoError(b.t, err)
}

// restart ends the core and makes another from the ledger; what waits to be recorded is lost.
func (b *bench) restart() {
	b.t.Helper()
	require.NoError(b.t, b.ledger.Close())
	b.open()
}

// steps takes n samples at that memory, and switches the hooks after each.
func (b *bench) steps(n int, memory float64) {
	b.t.Helper()
	b.set(memory)
	for range n {
		b.clock.pass(every)
		b.core.step(b.t.Context())
		require.NoError(b.t, b.core.takeTurn(b.t.Context(), false))
	}
}

func (b *bench) set(memory float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.memory = memory
}

func (b *bench) level() shivx.Level { return b.core.Status().Level }

// records reads the audit.
func (b *bench) records() (out []shivx.ResilienceRecord) {
	b.t.Helper()
	require.NoError(b.t, ledger.Read(b.path(), 1, func(r ledger.Record) error {
		var rec shivx.ResilienceRecord
		if err := r.Decode(&rec); err != nil {
			return err
		}
		out = append(out, rec)
		return nil
	}))
	return out
}

// changes reads the changes of the level from the audit, and checks that there is no gap, no
// double and no break in them.
func (b *bench) changes() (out []shivx.LevelChange) {
	b.t.Helper()
	from, ids := shivx.LevelNormal, map[string]bool{}
	require.NoError(b.t, ledger.Read(b.path(), 1, func(r ledger.Record) error {
		var head shivx.ResilienceRecord
		var rec struct{ Details shivx.LevelChange }
		require.NoError(b.t, r.Decode(&head))
		require.False(b.t, head.EventID != "" && ids[head.EventID], "event %s is there twice", head.EventID)
		ids[head.EventID] = true
		switch head.EventType {
		case shivx.EventDegradation, shivx.EventRecovery, shivx.EventOverride:
		default:
			return nil
		}
		require.NoError(b.t, r.Decode(&rec))
		ch := rec.Details
		require.Equal(b.t, uint64(len(out)+1), ch.Number)
		require.Equal(b.t, from, ch.From, "change %d", ch.Number)
		require.Equal(b.t, eventOf(ch), head.EventType)
		require.Equal(b.t, "box/level/"+ch.Ledger[:8]+"/"+fmt.Sprint(ch.Number), head.EventID)
		from = ch.To
		out = append(out, ch)
		return nil
	}))
	return out
}

// run runs the core until the test ends, or until stop is called.
func (b *bench) run() (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	core := b.core
	go func() { done <- core.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(b.t, <-done)
	})
	b.t.Cleanup(stop)
	return stop
}

// copyLedger copies a ledger and the kept options as a killed process would leave them; the
// ledger's signer may be at work.
func copyLedger(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	files, err := filepath.Glob(filepath.Join(from, "*.ndjson*"))
	require.NoError(t, err)
	for _, f := range files {
		if data, err := os.ReadFile(f); !os.IsNotExist(err) {
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(to, filepath.Base(f)), data, 0o600))
		}
	}
	if shed := filepath.Join(from, "shed"); exists(shed) {
		require.NoError(t, os.CopyFS(filepath.Join(to, "shed"), os.DirFS(shed)))
	}
	return to
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
