package forecast

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

// tree makes files below a root.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testenv.WriteFile(t, path, content)
	}
	return root
}

func TestCgroup(t *testing.T) {
	root := tree(t, map[string]string{
		"sys/fs/cgroup/memory.max":                            "max\n",
		"sys/fs/cgroup/shop.slice/memory.max":                 "1000\n",
		"sys/fs/cgroup/shop.slice/web.service/memory.max":     "4000\n",
		"sys/fs/cgroup/shop.slice/web.service/memory.current": "900\n",
		"sys/fs/cgroup/shop.slice/web.service/memory.stat":    "anon 600\nfile 300\ninactive_file 250\nactive_file 50\n",
		"sys/fs/cgroup/shop.slice/web.service/pids.current":   "12\n",
		"sys/fs/cgroup/shop.slice/web.service/pids.max":       "max\n",
	})
	used, limit, err := cgroupMeasure(root, "shop.slice/web.service", "memory")(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 650, used, 0, "without the cache that the kernel takes back at once")
	require.InDelta(t, 1000, limit, 0, "the limit above is the lower one")
	used, limit, err = cgroupMeasure(root, "shop.slice/web.service", "pids")(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 12, used, 0)
	require.Zero(t, limit)
	_, _, err = cgroupMeasure(root, "gone.slice", "memory")(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestProcess measures this one, and one that has ended.
func TestProcess(t *testing.T) {
	self := func() (int, error) { return os.Getpid(), nil }
	files := make([]*os.File, 40)
	before, limit, err := processMeasure("/", self, "open_files")(t.Context())
	require.NoError(t, err)
	for i := range files {
		files[i], err = os.Open(os.DevNull)
		require.NoError(t, err)
		defer files[i].Close()
	}
	after, _, err := processMeasure("/", self, "open_files")(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, after, before+40)
	require.GreaterOrEqual(t, limit, after)
	used, limit, err := processMeasure("/", self, "memory")(t.Context())
	require.NoError(t, err)
	require.Greater(t, used, 1e6)
	require.Zero(t, limit)
	threads, _, err := processMeasure("/", self, "threads")(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, threads, 1.0)

	ended := exec.CommandContext(t.Context(), "true")
	require.NoError(t, ended.Run())
	_, _, err = processMeasure("/", func() (int, error) { return ended.Process.Pid, nil }, "memory")(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestPath(t *testing.T) {
	used, limit, err := pathMeasure("/", t.TempDir(), "bytes")(t.Context())
	require.NoError(t, err)
	require.Positive(t, used)
	require.Greater(t, limit, used)
	_, _, err = pathMeasure("/", "/no/such/path", "inodes")(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestMeasuredSeries: what is measured here is in the history, and the next engine begins with it.
func TestMeasuredSeries(t *testing.T) {
	root := tree(t, map[string]string{
		"sys/fs/cgroup/web/memory.max": "1000\n", "sys/fs/cgroup/web/memory.current": "100\n", "sys/fs/cgroup/web/memory.stat": "inactive_file 0\n",
		"proc/self/x": "",
	})
	s := newStand(t)
	web := sharesOf("web", "")
	web.Series = []config.SubsystemSeries{{Cgroup: "web", What: "memory"}}
	own := sharesOf("own", "") // the same, in another unit
	own.Series = []config.SubsystemSeries{{Cgroup: "web", What: "memory", Limit: 500}}
	pid := filepath.Join(t.TempDir(), "pid")
	testenv.WriteFile(t, pid, strconv.Itoa(os.Getpid()))
	process := sharesOf("process", "")
	process.Capacity = 1e12
	process.Series = []config.SubsystemSeries{{Process: &config.ProcessCheck{PIDFile: pid}, What: "memory"}}
	files := sharesOf("files", "")
	files.Series = []config.SubsystemSeries{{Component: "self", What: "open_files"}}
	s.o.Components = []config.Component{{Name: "self", Checks: []config.Check{{Process: &config.ProcessCheck{PIDFile: pid}}}}}
	s.o.Root = root
	s.o.Rules.Subsystems = []config.Subsystem{web, own}
	s.start()
	used := 100.0
	s.run(begin.Add(24*time.Hour), func(time.Time) {
		used += 0.2
		testenv.WriteFile(t, filepath.Join(root, "sys/fs/cgroup/web/memory.current"), strconv.Itoa(int(used))+"\n")
	}, nil)
	p := s.prediction("web")
	require.Equal(t, `shivx_cgroup_memory_bytes{cgroup="web"}`, p.Series)
	require.InDelta(t, used/1000, p.Value, 0.01)
	require.InDelta(t, used/500, s.prediction("own").Value, 0.01)
	s.start()
	s.look()
	require.InDelta(t, p.Probability, s.prediction("web").Probability, 0.05)
	require.Empty(t, s.prediction("own").Missing)

	s.o.Root, s.o.Rules.Subsystems = "/", []config.Subsystem{process, files}
	s.start()
	s.look()
	all := s.engine.Predictions()
	require.Equal(t, "self", all[1].Component)
	require.Equal(t, `shivx_component_open_files{component="self"}`, all[1].Series)
	require.InDelta(t, 0.5, all[1].Value, 0.5)
	require.Greater(t, all[0].Value, 1e6)

	require.NoError(t, os.WriteFile(pid, []byte("999999999"), 0o600))
	s.now = s.now.Add(20 * time.Minute)
	s.look()
	require.Contains(t, s.engine.Heatmap().Risks[1].Missing, "is gone")
}

// TestLimitIsMissing says what to do.
func TestLimitIsMissing(t *testing.T) {
	s := newStand(t)
	web := sharesOf("web", "")
	web.Series = []config.SubsystemSeries{{Cgroup: "web", What: "memory"}}
	s.o.Root = tree(t, map[string]string{"sys/fs/cgroup/web/memory.max": "max\n", "sys/fs/cgroup/web/memory.current": "100\n",
		"sys/fs/cgroup/web/memory.stat": "inactive_file 0\n"})
	s.o.Rules.Subsystems = []config.Subsystem{web}
	s.start()
	s.look()
	require.Contains(t, s.engine.Heatmap().Risks[0].Missing, "it has no limit; give it one")
}

// TestMeasurementThatHangs, as of a pid file on a file system that is gone, holds up nobody, and is not asked twice at once.
func TestMeasurementThatHangs(t *testing.T) {
	asked, hangs := 0, make(chan struct{})
	measure := bounded("the process shop", func(context.Context) (float64, float64, error) {
		asked++
		<-hangs
		return 1, 2, nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, _, err := measure(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, _, err = measure(t.Context())
	require.EqualError(t, err, "the process shop: the host still does not answer")
	close(hangs)
	require.Eventually(t, func() bool {
		used, limit, err := measure(t.Context())
		return err == nil && used == 1 && limit == 2
	}, 5*time.Second, time.Millisecond)
	require.Equal(t, 2, asked)
}
