package integrity

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// rig is a watched tree with a ledger in memory.
type rig struct {
	*Watch
	t *testing.T
	// tree is watched, dir holds the baseline.
	tree, dir string
	rules     config.Integrity
	now       func() time.Time

	mu      sync.Mutex
	found   []Finding
	records []record
	anchor  string
	came    chan struct{}
}

type record struct {
	kind    string
	details map[string]any
}

func newRig(t *testing.T) *rig {
	base := memoryDir(t)
	r := &rig{t: t, tree: filepath.Join(base, "tree"), dir: filepath.Join(base, "own"), came: make(chan struct{}, 1), now: time.Now}
	require.NoError(t, os.Mkdir(r.tree, 0o755))
	r.rules = config.Integrity{Paths: []string{r.tree}, Every: time.Hour, MaxTicket: 24 * time.Hour}
	return r
}

// memoryDir is a temporary folder in memory where there is one.
func memoryDir(t *testing.T) string {
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "shivx-test-") //nolint:usetesting // t.TempDir is on a disk
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// open starts anew, as after a restart of the agent.
func (r *rig) open() *rig {
	t := r.t
	t.Helper()
	w, err := Open(Options{
		Rules: r.rules, Dir: r.dir, Anchor: r.anchor, Now: func() time.Time { return r.now() },
		Found: func(_ context.Context, f Finding) {
			r.mu.Lock()
			r.found = append(r.found, f)
			r.mu.Unlock()
			r.signal()
		},
		Record: func(_ context.Context, kind string, details any) error {
			data, err := json.Marshal(details)
			require.NoError(t, err)
			entry := record{kind: kind}
			require.NoError(t, json.Unmarshal(data, &entry.details))
			r.mu.Lock()
			r.records = append(r.records, entry)
			if root, ok := entry.details["root"].(string); ok {
				r.anchor = root
			}
			r.mu.Unlock()
			r.signal()
			return nil
		},
	})
	require.NoError(t, err)
	w.nice = 0 // a test waits for it
	r.Watch = w
	return r
}

func (r *rig) signal() {
	select {
	case r.came <- struct{}{}:
	default:
	}
}

// write writes a file of the tree, with the folders above it.
func (r *rig) write(name, content string) string {
	r.t.Helper()
	path := filepath.Join(r.tree, name)
	require.NoError(r.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(r.t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// verify verifies everything and returns what is new, as "kind path".
func (r *rig) verify() []string {
	r.t.Helper()
	r.take()
	_, err := r.Verify(context.Background())
	require.NoError(r.t, err)
	return r.take()
}

// take returns what was found since, as "kind path" relative to the tree or the baseline's folder.
func (r *rig) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := []string{}
	for _, f := range r.found {
		names = append(names, string(f.Kind)+" "+r.short(f.Path))
	}
	r.found = nil
	return names
}

func (r *rig) short(path string) string {
	for _, dir := range []string{r.tree, r.dir} {
		if rel, err := filepath.Rel(dir, path); err == nil && !within(rel, "..") {
			return rel
		}
	}
	return path
}

// kinds lists the kinds of the records since the last call.
func (r *rig) kinds() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []string
	for _, e := range r.records {
		kinds = append(kinds, e.kind)
	}
	r.records = nil
	return kinds
}

// run watches until the test ends; it returns when everything was verified once.
func (r *rig) run() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		require.NoError(r.t, <-done)
	})
	require.Eventually(r.t, func() bool { return !r.Status().Last.At.IsZero() }, 10*time.Second, time.Millisecond)
}

// await waits until all wanted findings were told, and returns what else was.
func (r *rig) await(want ...string) (rest []string) {
	r.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		rest = append(rest, r.take()...)
		for i := 0; i < len(want); {
			if at := slices.Index(rest, want[i]); at >= 0 {
				rest = slices.Delete(rest, at, at+1)
				want = slices.Delete(want, i, i+1)
				continue
			}
			i++
		}
		if len(want) == 0 {
			return rest
		}
		select {
		case <-r.came:
		case <-limit:
			require.Empty(r.t, want, "not told within 10 s; told were %v", rest)
		}
	}
}

// awaitRecord waits until a record of the kind was made.
func (r *rig) awaitRecord(kind string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return slices.Contains(r.kinds(), kind) }, 10*time.Second, time.Millisecond)
}

func TestFirstStartMakesABaselineAndFindsWhatChangesAfterIt(t *testing.T) {
	r := newRig(t)
	r.write("bin/app", "program")
	r.write("etc/app.conf", "a=1")
	r.open()
	require.Empty(t, r.verify())
	require.Equal(t, []string{RecordCreated}, r.kinds())
	require.Equal(t, r.anchor, r.Status().Root)
	require.Equal(t, 5, r.Status().Entries)

	r.write("bin/app", "PROGRAM")
	require.Equal(t, []string{"content bin/app"}, r.verify())
	require.Empty(t, r.verify(), "told once")
	require.Len(t, r.Status().Open, 1)
	require.Equal(t, []string{"content bin/app"}, r.open().verify(), "a start tells again of what is open")

	r.write("bin/app", "program")
	require.Empty(t, r.verify())
	require.Equal(t, []string{RecordResolved}, r.kinds())
	require.Empty(t, r.Status().Open)
}

func TestWatchingTellsAtOnce(t *testing.T) {
	r := newRig(t)
	r.write("bin/app", "program")
	r.open().run()
	begin := time.Now()
	r.write("bin/app", "PROGRAM")
	require.Empty(t, r.await("content bin/app"))
	t.Logf("told after %s", time.Since(begin))
	r.write("new/deep/er/file", "x")
	require.Empty(t, r.await("added new", "added new/deep", "added new/deep/er", "added new/deep/er/file"))
	require.NoError(t, os.WriteFile(filepath.Join(r.tree, "new/deep/er/second"), nil, 0o600))
	require.Empty(t, r.await("added new/deep/er/second"))
}
