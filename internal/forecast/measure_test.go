package forecast

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCgroupsOfBothVersions: what is used is that of the cgroup without the cache, the limit is the least on the way to the root.
func TestCgroupsOfBothVersions(t *testing.T) {
	for version, files := range map[string]map[string]string{
		"2": {
			"app/shop/memory.current": "900\n", "app/shop/memory.max": "max\n", "app/shop/memory.stat": "anon 700\ninactive_file 100\n",
			"app/memory.max": "1600\n", "app/shop/pids.current": "7\n", "app/shop/pids.max": "70\n",
		},
		"1": {
			"app/shop/memory.usage_in_bytes": "900\n", "app/shop/memory.limit_in_bytes": "9223372036854771712\n",
			"app/shop/memory.stat": "inactive_file 5\ntotal_inactive_file 100\n", "app/memory.limit_in_bytes": "1600\n",
			"memory.limit_in_bytes": "9223372036854771712\n", "app/shop/pids.current": "7\n", "app/shop/pids.max": "70\n",
		},
	} {
		root := t.TempDir()
		for name, text := range files {
			path := filepath.Join(root, cgroupRoot, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		}
		used, limit, err := cgroupMeasure(root, "app/shop", "memory")(t.Context())
		require.NoError(t, err, version)
		require.InDelta(t, 800, used, 0, version)
		require.InDelta(t, 1600, limit, 0, version)
		used, limit, err = cgroupMeasure(root, "app/shop", "pids")(t.Context())
		require.NoError(t, err, version)
		require.InDelta(t, 7, used, 0, version)
		require.InDelta(t, 70, limit, 0, version)
		_, _, err = cgroupMeasure(root, "app/none", "memory")(t.Context())
		require.ErrorContains(t, err, "app/none")
		require.NoError(t, os.Remove(filepath.Join(root, cgroupRoot, "app/shop/memory.stat")))
		_, _, err = cgroupMeasure(root, "app/shop", "memory")(t.Context())
		require.ErrorContains(t, err, "memory.stat")
	}
}
