package integrity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

var errStopped = errors.New("the agent was stopped")

// stopping is a disk on which everything ends at one instant.
type stopping struct {
	folder
	// left is how many instants there are before it; stopped is true after it.
	left    int
	stopped bool
}

// instant says whether the agent is still there.
func (d *stopping) instant() bool {
	d.stopped = d.stopped || d.left == 0
	d.left--
	return !d.stopped
}

func (d *stopping) put(name string, write func(io.Writer) error) error {
	var all bytes.Buffer
	if err := write(&all); err != nil {
		return err
	}
	for _, part := range []int{0, all.Len() / 3, all.Len() - 1, all.Len()} {
		if !d.instant() {
			return errStopped
		}
		if err := d.folder.put(name, func(to io.Writer) error { _, err := to.Write(all.Bytes()[:part]); return err }); err != nil {
			return err
		}
	}
	return d.after(nil)
}

// after is the instant between a step and what follows it.
func (d *stopping) after(err error) error {
	if err == nil && !d.instant() {
		return errStopped
	}
	return err
}

func (d *stopping) move(from, to string) error {
	if !d.instant() {
		return errStopped
	}
	return d.after(d.folder.move(from, to))
}

func (d *stopping) drop(name string) error {
	if !d.instant() {
		return errStopped
	}
	return d.after(d.folder.drop(name))
}

// stopAt has the agent stop at an instant of its saving; the ledger, too, is asked before and after it.
func (r *rig) stopAt(n int) *stopping {
	d := &stopping{folder: folder{r.dir}, left: n}
	r.store.disk = d
	inner := r.Record
	r.Record = func(ctx context.Context, kind string, details any) error {
		if !d.instant() {
			return errStopped
		}
		return d.after(inner(ctx, kind, details))
	}
	return d
}

// TestNoInstantOfACrashIsAnAlarm ends the agent at every instant of everything that saves, starts it
// again and looks: nothing has been tampered with.
func TestNoInstantOfACrashIsAnAlarm(t *testing.T) {
	ctx := context.Background()
	for name, step := range map[string]func(r *rig) error{
		"first start": func(r *rig) error { _, err := r.Verify(ctx); return err },
		"new baseline": func(r *rig) error {
			r.write("changed", "on purpose")
			_, err := r.Rebase(ctx, "ops", "")
			return err
		},
		"ticket opened": func(r *rig) error {
			_, err := r.OpenTicket(ctx, Ticket{ID: "t", Paths: []string{r.tree}, Until: time.Now().Add(time.Hour), By: "ops"})
			return err
		},
		"ticket closed": func(r *rig) error { _, err := r.CloseTicket(ctx, "t", "ops"); return err },
		"other paths": func(r *rig) error {
			r.rules.Exclude = []string{"logs/**"}
			inner := r.store.disk
			record := r.Record
			r.open()
			r.store.disk, r.Record = inner, record
			_, err := r.Verify(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			instants := 0
			for done := false; !done; instants++ {
				r := newRig(t)
				r.write("bin/app", "program")
				r.write("logs/app.log", "line")
				if r.open(); name != "first start" {
					require.Empty(t, r.verify())
				}
				if name == "ticket closed" {
					_, err := r.OpenTicket(ctx, Ticket{ID: "t", Paths: []string{r.tree}, Until: time.Now().Add(time.Hour), By: "ops"})
					require.NoError(t, err)
					r.write("bin/app", "the next release")
				}
				d := r.stopAt(instants)
				err := step(r)
				done = !d.stopped
				require.Equal(t, done, err == nil, "instant %d: %v", instants, err)
				if r.open(); name == "new baseline" && !strings.Contains(fmt.Sprint(r.kinds()), RecordRebased) {
					require.Equal(t, []string{"added changed"}, r.verify(), "instant %d: the old baseline holds", instants)
					continue
				}
				require.Empty(t, r.verify(), "instant %d", instants)
				require.True(t, r.Status().Trusted)
				require.NoFileExists(t, r.store.path(pendingName))
			}
			require.Greater(t, instants, 5)
			t.Logf("%d instants", instants)
		})
	}
}

// crashEnv is set in the process that is killed; it has the folder.
const crashEnv = "SHIVX_TEST_INTEGRITY_CRASH"

// TestKilledAtAnyTimeIsNoAlarm kills a process that saves baselines and tickets all the time.
func TestKilledAtAnyTimeIsNoAlarm(t *testing.T) {
	if dir := os.Getenv(crashEnv); dir != "" {
		saveForEver(t, dir)
		return
	}
	const kills = 60
	dir := memoryDir(t)
	r := &rig{t: t, tree: filepath.Join(dir, "tree"), dir: filepath.Join(dir, "own"), now: time.Now, came: make(chan struct{}, 1)}
	r.rules = config.Integrity{Paths: []string{r.tree}, Every: time.Hour, MaxTicket: time.Hour}
	for i := range 50 {
		r.write(fmt.Sprintf("d%d/f%d", i%7, i), strings.Repeat("x", i))
	}
	saved := 0
	for i := range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAtAnyTimeIsNoAlarm$")
		cmd.Env = append(os.Environ(), crashEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = io.ReadFull(out, make([]byte, 1+rand.IntN(5))) // it has begun, and saved up to four times
		require.NoError(t, err)
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		ledger, err := os.ReadFile(filepath.Join(dir, "ledger"))
		require.NoError(t, err)
		roots := strings.Fields(string(ledger[:bytes.LastIndexByte(ledger, '\n')+1]))
		r.anchor, saved = "", len(roots)
		if saved > 0 {
			r.anchor = roots[saved-1]
		}
		require.Empty(t, r.open().verify(), "kill %d", i)
		require.True(t, r.Status().Trusted, "kill %d", i)
		if saved == 0 { // it was made by this process
			require.NoError(t, os.WriteFile(filepath.Join(dir, "ledger"), []byte(r.anchor+"\n"), 0o600))
		}
	}
	require.Greater(t, saved, kills)
	t.Logf("%d kills, %d baselines", kills, saved)
}

// saveForEver records into a file, as a ledger that is safe when a record returns. It prints a byte when it
// has begun and for each baseline that is recorded.
func saveForEver(t *testing.T, dir string) {
	ledger, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	require.NoError(t, err)
	known, err := io.ReadAll(ledger)
	require.NoError(t, err)
	anchor := ""
	if roots := strings.Fields(string(known)); len(roots) > 0 {
		anchor = roots[len(roots)-1]
	}
	tree := filepath.Join(dir, "tree")
	w, err := Open(Options{
		Rules: config.Integrity{Paths: []string{tree}, Every: time.Hour, MaxTicket: time.Hour}, Dir: filepath.Join(dir, "own"), Anchor: anchor,
		Found: func(_ context.Context, f Finding) { t.Errorf("found %+v", f) },
		Record: func(_ context.Context, _ string, details any) error {
			if s, ok := details.(Summary); ok {
				_, err := fmt.Fprintln(ledger, s.Root)
				fmt.Print(".")
				return err
			}
			return nil
		},
	})
	require.NoError(t, err)
	fmt.Print(".")
	for !t.Failed() {
		_, err := w.Rebase(t.Context(), "ops", "")
		require.NoError(t, err)
		ticket, err := w.OpenTicket(t.Context(), Ticket{Paths: []string{tree}, Until: time.Now().Add(time.Minute), By: "ops"})
		require.NoError(t, err)
		_, err = w.CloseTicket(t.Context(), ticket.ID, "ops")
		require.NoError(t, err)
	}
}
