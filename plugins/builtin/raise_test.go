package builtin

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCgroupRaisesALimit: what a run has raised stays, and undo puts back what that run has found.
func TestCgroupRaisesALimit(t *testing.T) {
	c := newCgroups(t)
	c.add("shop", map[string]string{"memory.max": "536870912\n"})
	req := c.request("shop", map[string]any{"memory.max": "1G"})
	req.Run = "run 1"
	res, err := c.p.Recover(ctx(t), planned(req))
	require.NoError(t, err)
	require.Equal(t, "would: memory.max: 536870912 → 1G", res.Summary)
	for range 2 {
		res, err = c.p.Recover(ctx(t), req)
		require.NoError(t, err)
		require.Equal(t, "changed cgroup shop", res.Summary)
		require.Equal(t, "1G", c.read("shop/memory.max"))
	}

	hook := c.request("shop", map[string]any{"memory.max": "256M"}) // it keeps what it finds apart
	_, err = c.p.Isolate(ctx(t), hook)
	require.NoError(t, err)
	_, err = c.p.Reintegrate(ctx(t), hook)
	require.NoError(t, err)
	require.Equal(t, "1G", c.read("shop/memory.max"))

	second := c.request("shop", map[string]any{"memory.max": "2G"})
	second.Run = "run 2"
	_, err = c.p.Recover(ctx(t), second)
	require.NoError(t, err)
	require.Equal(t, "2G", c.read("shop/memory.max"))
	_, err = c.p.Undo(ctx(t), planned(second))
	require.NoError(t, err)
	require.Equal(t, "2G", c.read("shop/memory.max"))
	for range 2 {
		_, err = c.p.Undo(ctx(t), second)
		require.NoError(t, err)
		require.Equal(t, "1G", c.read("shop/memory.max"), "what the run before has raised is the limit now")
	}
	res, err = c.p.Undo(ctx(t), req)
	require.NoError(t, err)
	require.Contains(t, res.Summary, "nothing was shed", "what an earlier run found is past")
	entries, err := os.ReadDir(c.work)
	require.NoError(t, err)
	require.LessOrEqual(t, len(entries), 1, "folders of past runs stay")
}

func TestSystemdStartsOneMore(t *testing.T) {
	f, p := newSystemd(t)
	req := systemdRequest(t, map[string]any{"unit": "batch.service", "action": "start"})
	res, err := p.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, []string{"unit batch.service is active already"}, res.Changes)
	res, err = p.Undo(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, []string{"unit batch.service ran before; it is left so"}, res.Changes)

	f.change(func(f *fakeSystemd) { f.active = "inactive" })
	res, err = p.Recover(ctx(t), planned(req))
	require.NoError(t, err)
	require.Equal(t, []string{"unit batch.service: inactive → started"}, res.Changes)
	require.Empty(t, f.done())
	_, err = p.Recover(ctx(t), req)
	require.NoError(t, err)
	_, err = p.Recover(ctx(t), req) // it runs by now, and is none the less what this run has started
	require.NoError(t, err)
	_, err = p.Undo(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, []string{"start batch.service", "stop batch.service"}, f.done())
}

func TestSystemdRaisesALimit(t *testing.T) {
	f, p := newSystemd(t)
	req := systemdRequest(t, map[string]any{"unit": "batch.service", "properties": map[string]any{"TasksMax": 9000}})
	res, err := p.Recover(ctx(t), req)
	require.NoError(t, err)
	require.Equal(t, "changed unit batch.service", res.Summary)
	require.EqualValues(t, 9000, f.limit("TasksMax"))
	_, err = p.Undo(ctx(t), req)
	require.NoError(t, err)
	require.EqualValues(t, 4915, f.limit("TasksMax"))
}
