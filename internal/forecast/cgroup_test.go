package forecast

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCgroupOfVersion1: the files have other names, and a limit that is none is a great number.
func TestCgroupOfVersion1(t *testing.T) {
	root := tree(t, map[string]string{
		"sys/fs/cgroup/memory/memory.limit_in_bytes":          "9223372036854771712\n",
		"sys/fs/cgroup/memory/app/memory.limit_in_bytes":      "1600\n",
		"sys/fs/cgroup/memory/app/shop/memory.limit_in_bytes": "9223372036854771712\n",
		"sys/fs/cgroup/memory/app/shop/memory.usage_in_bytes": "900\n",
		"sys/fs/cgroup/memory/app/shop/memory.stat":           "inactive_file 5\ntotal_inactive_file 100\n",
		"sys/fs/cgroup/memory/other/memory.limit_in_bytes":    "9223372036854771712\n",
		"sys/fs/cgroup/memory/other/memory.usage_in_bytes":    "900\n",
		"sys/fs/cgroup/memory/other/memory.stat":              "total_inactive_file 1000\n",
		"sys/fs/cgroup/pids/app/shop/pids.current":            "7\n",
		"sys/fs/cgroup/pids/app/shop/pids.max":                "70\n",
	})
	for _, c := range []struct {
		path, what  string
		used, limit float64
	}{
		{"memory/app/shop", "memory", 800, 1600},
		{"memory/other", "memory", 0, 0},
		{"pids/app/shop", "pids", 7, 70},
	} {
		used, limit, err := cgroupMeasure(root, c.path, c.what)(t.Context())
		require.NoError(t, err, c.path)
		require.InDelta(t, c.used, used, 0, c.path)
		require.InDelta(t, c.limit, limit, 0, c.path)
	}
}
