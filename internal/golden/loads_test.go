package golden_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden"
	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/golden/source"
)

// dumped is a source whose exports a program puts into a server.
type dumped struct {
	path   string
	loaded int
	fault  error
}

func (*dumped) Name() string { return "db" }

func (d *dumped) Made(in format.Source) bool { return in.Path == d.path }

func (d *dumped) Prepare(_ context.Context, dir string) (*source.Export, error) {
	file := filepath.Join(dir, "dump")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, []byte("rows"), 0o600)); err != nil {
		return nil, err
	}
	return &source.Export{Overlays: map[string]string{d.path: file}, Sources: []format.Source{{Name: "db", Type: "postgres", Path: d.path}}}, nil
}

func (d *dumped) After(context.Context) error {
	d.loaded++
	return d.fault
}

// TestPlanSaysWhatIsNotUndone: a dump that is loaded into a server stays there, and people hear of it before.
func TestPlanSaysWhatIsNotUndone(t *testing.T) {
	db := &dumped{}
	m := newMachine(t, func(o *golden.Options) {
		db.path = filepath.Join(filepath.Dir(o.Dir), "dumps")
		o.Sets[0].Sources = []source.Source{db}
	})
	info := m.take("")
	r := golden.Restore{ID: "r", Set: "shop", Golden: info.ID}
	c, err := m.PlanRestore(t.Context(), r, nil)
	require.NoError(t, err)
	require.Len(t, c.Notes, 1)
	require.Contains(t, c.Notes[0], "not the databases")
	require.Equal(t, "! "+c.Notes[0], golden.Summary(c).Paths[0])
	for _, other := range []golden.Restore{
		{ID: "r", Set: "shop", Golden: info.ID, Only: []string{filepath.Join(m.tree, "d0")}},
		{ID: "r", Set: "shop", Golden: info.ID, To: filepath.Join(t.TempDir(), "elsewhere")},
	} {
		c, err := m.PlanRestore(t.Context(), other, nil)
		require.NoError(t, err)
		require.Empty(t, c.Notes, "nothing is loaded")
	}
	require.Zero(t, db.loaded)
	loaded, err := m.Load(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, 1, loaded.Databases)
	db.fault = errors.New("no server")
	_, err = m.Load(t.Context(), r)
	require.ErrorIs(t, err, db.fault)
	require.True(t, strings.HasPrefix(err.Error(), "load db: "), err)
	require.Equal(t, 2, db.loaded)
}
