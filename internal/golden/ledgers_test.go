package golden

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/ledger"
)

// audited is a host with a folder, its audit logs, and a golden of both.
type audited struct {
	cfg    *config.Config
	engine *Engine
	path   string // of the operational ledger
	file   string
	golden string
}

// newAudited takes a golden when the operational ledger has 20 records; another 10 follow.
func newAudited(t *testing.T, edit func(*config.GoldenSet)) *audited {
	t.Helper()
	dir := t.TempDir()
	a := &audited{cfg: config.Default(), file: filepath.Join(dir, "etc", "app.conf")}
	a.cfg.Host, a.cfg.Paths.Var = "h1", filepath.Join(dir, "etc", "var")
	a.cfg.Golden.Store = config.GoldenStore{Path: filepath.Join(dir, "store")}
	set := config.GoldenSet{Name: "system", Ledgers: true, Paths: []string{filepath.Dir(a.file)}, Exclude: []string{a.cfg.Paths.Var + "/**"}}
	edit(&set)
	a.cfg.Golden.Sets = []config.GoldenSet{set}
	a.path = filepath.Join(a.cfg.Paths.Var, config.OperationalLedger)
	require.NoError(t, os.MkdirAll(filepath.Dir(a.file), 0o750))
	require.NoError(t, os.WriteFile(a.file, []byte("old"), 0o600))
	a.engine = a.newEngine(t)
	a.write(t, 0, 20)
	info, _, err := a.engine.Take(t.Context(), Order{Set: "system", Kind: shivx.GoldenKindBackup}, nil)
	require.NoError(t, err)
	a.golden = info.ID
	a.write(t, 20, 10)
	require.NoError(t, os.WriteFile(a.file, []byte("new"), 0o600))
	return a
}

func (a *audited) newEngine(t *testing.T) *Engine {
	t.Helper()
	e, err := Configured(a.cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func (a *audited) open(t *testing.T) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(a.path, ledger.Options{Logger: slog.New(slog.DiscardHandler), MaxBytes: 2000})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (a *audited) write(t *testing.T, from, n int) {
	t.Helper()
	l := a.open(t)
	for i := range n {
		_, err := l.Append(t.Context(), fmt.Sprint("key-", from+i), map[string]any{"event_type": "test", "number": from + i})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
}

func (a *audited) verify(t *testing.T, path string, o ledger.VerifyOptions) ledger.Report {
	t.Helper()
	rep, err := ledger.Verify(t.Context(), path, o)
	require.NoError(t, err)
	return rep
}

// restore does the steps of a restore that concern files and ledgers.
func (a *audited) restore(t *testing.T, id string) []LedgerJoin {
	t.Helper()
	r := Restore{ID: id, Set: "system", Golden: a.golden}
	_, err := a.engine.Stage(t.Context(), r, nil)
	require.NoError(t, err)
	_, err = a.engine.Validate(t.Context(), r)
	require.NoError(t, err)
	_, err = a.engine.Swap(t.Context(), r)
	require.NoError(t, err)
	loaded, err := a.engine.Load(t.Context(), r)
	require.NoError(t, err)
	_, err = a.engine.Finish(t.Context(), r, false)
	require.NoError(t, err)
	data, err := os.ReadFile(a.file)
	require.NoError(t, err)
	require.Equal(t, "old", string(data))
	require.NoDirExists(t, filepath.Join(a.cfg.Paths.Var, home, "joins", id), "nothing stays behind")
	require.NoDirExists(t, ledgersAt)
	return loaded.Ledgers
}

// sets are what a ledger is stored in: with the folder that it lies in left out, or being a root.
var sets = map[string]func(*config.GoldenSet){
	"by default": func(*config.GoldenSet) {},
	"with the folder of the ledgers": func(s *config.GoldenSet) {
		s.Exclude = nil
	},
	"alone": func(s *config.GoldenSet) { s.Paths = nil },
	"with patterns that leave out ledgers": func(s *config.GoldenSet) {
		s.Exclude = append(s.Exclude, "/**/*.ndjson", "/**/*.heads")
	},
}

func TestAGoldenHoldsTheLedgersAndNotTheirKeys(t *testing.T) {
	for name, edit := range sets {
		t.Run(name, func(t *testing.T) {
			a := newAudited(t, edit)
			found := 0
			require.NoError(t, a.engine.Browse(t.Context(), Ref{Set: "system", Golden: a.golden}, "", true, func(e *format.Entry) error {
				require.NotContains(t, e.Path, ".key")
				if strings.Contains(e.Path, "operational_ledger") {
					require.True(t, format.Below(ledgersAt, e.Path), "%s is a live ledger", e.Path)
					found++
				}
				return nil
			}))
			require.GreaterOrEqual(t, found, 3, "sealed files, the newest, and the heads")

			to := t.TempDir()
			r := Restore{ID: "look", Set: "system", Golden: a.golden, To: to}
			_, err := a.engine.Stage(t.Context(), r, nil)
			require.NoError(t, err)
			_, err = a.engine.Swap(t.Context(), r)
			require.NoError(t, err)
			_, err = a.engine.Finish(t.Context(), r, false)
			require.NoError(t, err)
			rep := a.verify(t, filepath.Join(to, ledgersAt, filepath.Base(a.path)), ledger.VerifyOptions{Copy: true})
			require.True(t, rep.OK, "%+v", rep.Findings)
			require.EqualValues(t, 20, rep.Records)
		})
	}
}

func TestADifferenceIsNotThatLedgersHaveCopies(t *testing.T) {
	a := newAudited(t, sets["by default"])
	c, err := a.engine.PlanRestore(t.Context(), Restore{ID: "plan", Set: "system", Golden: a.golden}, nil)
	require.NoError(t, err)
	require.Len(t, c.List, 1, "%+v", c.List)
	require.Equal(t, a.file, c.List[0].Path)
	c, err = a.engine.PlanRestore(t.Context(), Restore{ID: "plan", Set: "system", Golden: a.golden, Only: []string{ledgersAt}}, nil)
	require.NoError(t, err)
	require.NotEmpty(t, c.List, "who asks for the copies gets them")
}

// TestARestoreLeavesNewerRecords: the live ledger goes on as if nothing had been restored.
func TestARestoreLeavesNewerRecords(t *testing.T) {
	for name, edit := range sets {
		if name == "alone" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			a := newAudited(t, edit)
			joins := a.restore(t, "r1")
			require.Len(t, joins, 1)
			require.Equal(t, ledger.JoinSame, joins[0].Outcome, "%+v", joins[0])
			rep := a.verify(t, a.path, ledger.VerifyOptions{})
			require.True(t, rep.OK, "%+v", rep.Findings)
			require.EqualValues(t, 30, rep.Records)
		})
	}
}

// TestAnAgentThatRunsKeepsItsLedger restores while this process has the ledger open, intact or not.
func TestAnAgentThatRunsKeepsItsLedger(t *testing.T) {
	a := newAudited(t, sets["by default"])
	live := a.open(t)
	a.engine.RecordWith(func(ctx context.Context, path, key string, fields any) error {
		require.Equal(t, a.path, path)
		_, err := live.Append(ctx, key, fields)
		return err
	})
	require.Equal(t, ledger.JoinSame, a.restore(t, "r1")[0].Outcome)

	files, err := filepath.Glob(filepath.Join(filepath.Dir(a.path), "operational_ledger.000000000001-*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.Remove(files[0]))
	require.NoError(t, os.WriteFile(a.file, []byte("new"), 0o600))
	join := a.restore(t, "r2")[0]
	require.Equal(t, ledger.JoinBusy, join.Outcome)
	require.NoFileExists(t, files[0], "nothing is put in place under its writer")
	require.True(t, a.verify(t, filepath.Join(join.Kept, filepath.Base(a.path)), ledger.VerifyOptions{Copy: true}).OK)
	key, _ := join.Record(live.Head().Time)
	require.True(t, live.Has(key), "the live ledger says so")

	require.NoError(t, live.Close())
	join = a.restore(t, "r3")[0]
	require.Equal(t, ledger.JoinJoined, join.Outcome)
	rep := a.verify(t, a.path, ledger.VerifyOptions{})
	require.True(t, rep.OK, "%+v", rep.Findings)
	require.EqualValues(t, 32, rep.Records, "30, and a record for each join")
}

func TestALedgerThatIsGoneIsJoined(t *testing.T) {
	for name, edit := range sets {
		t.Run(name, func(t *testing.T) {
			a := newAudited(t, edit)
			old := filepath.Dir(a.path)
			files, err := filepath.Glob(filepath.Join(old, "operational_ledger*"))
			require.NoError(t, err)
			for _, f := range files {
				require.NoError(t, os.Remove(f))
			}
			if name == "alone" {
				require.NoError(t, os.WriteFile(a.file, []byte("old"), 0o600))
			}
			join := a.restore(t, "r1")[0]
			require.Equal(t, ledger.JoinJoined, join.Outcome, "%v", join)
			require.EqualValues(t, 20, join.Added)
			l := a.open(t)
			_, ok, err := l.Find("key-19")
			require.NoError(t, err)
			require.True(t, ok)
			genesis := l.Genesis()
			require.NoError(t, l.Close())
			rep := a.verify(t, a.path, ledger.VerifyOptions{})
			rep = a.verify(t, a.path, ledger.VerifyOptions{Trusted: []string{rep.Genesis, genesis}})
			require.True(t, rep.OK, "%+v", rep.Findings)
			require.Equal(t, ledger.JoinSame, a.restore(t, "r2")[0].Outcome)
		})
	}
}
