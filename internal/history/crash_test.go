package history

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const childFolder = "SHIVX_TEST_HISTORY"

// TestMain runs the child of TestKilled when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		appendForever(dir)
	}
	os.Exit(m.Run())
}

// appendForever appends, and prints the number of each sample that is kept.
func appendForever(dir string) {
	h, err := Open(dir, Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		if err := h.Append(start.Add(time.Duration(i)*5*time.Second), figures(float64(i))); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

func TestKilled(t *testing.T) {
	// 5,000 samples at 5 s are more than three blocks: some die in a compaction.
	for _, after := range []int{1, 500, 2500, 5000} {
		dir := t.TempDir()
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childFolder+"="+dir)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		lines, last := bufio.NewScanner(out), -1
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			require.NoError(t, err)
			if last = n; n == after {
				require.NoError(t, child.Process.Kill())
			}
		}
		require.Error(t, child.Wait())
		require.GreaterOrEqual(t, last, after)

		h := open(t, dir, Options{})
		got := loads(t, h, start, start.Add(time.Duration(last)*5*time.Second))
		require.Len(t, got, last+1, "all that was acknowledged")
		for i, p := range got {
			require.Equal(t, i, int(p.Last))
		}
		fill(t, h, start.Add(time.Duration(last+10)*5*time.Second), 10, 5*time.Second)
		require.NoError(t, h.Close())
	}
}

// newest is the file of that folder with the highest number that is not empty.
func newest(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "0*"))
	require.NoError(t, err)
	all = slices.DeleteFunc(all, func(path string) bool { return sizeOf(path) == 0 })
	require.NotEmpty(t, all)
	return slices.Max(all)
}

func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, f(b), 0o600))
}

func TestATornTailIsRepaired(t *testing.T) {
	for name, tear := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)-7] },
		"garbage": func(b []byte) []byte { return append(b, "\x01\x00\x40garbage"...) },
		"zeros":   func(b []byte) []byte { return append(b[:len(b)-7], make([]byte, 100)...) },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, t.TempDir(), Options{})
			fill(t, h, start, 100, 5*time.Second)
			wal := newest(t, filepath.Join(h.dir, "wal"))
			require.NoError(t, h.Close())
			change(t, wal, tear)
			l := &logs{}
			h = open(t, h.dir, Options{Logger: l.logger()})
			assert.GreaterOrEqual(t, len(loads(t, h, start, start.Add(time.Hour))), 99)
			assert.NoDirExists(t, filepath.Join(h.dir, asideFolder))
			fill(t, h, start.Add(time.Hour), 100, 5*time.Second)
			require.NoError(t, h.Close())
			h = open(t, h.dir, Options{})
			assert.GreaterOrEqual(t, len(loads(t, h, start, start.Add(2*time.Hour))), 199)
		})
	}
}

// spoil writes nonsense over the middle of a file.
func spoil(t *testing.T, path string) {
	t.Helper()
	change(t, path, func(b []byte) []byte {
		for i := len(b) / 3; i < 2*len(b)/3; i++ {
			b[i] ^= 0x5a
		}
		return b
	})
}

// block returns the path of a file in the oldest block.
func block(t *testing.T, h *History, file string) string {
	t.Helper()
	dirs := blockDirs(h.dir)
	require.NotEmpty(t, dirs)
	return filepath.Join(dirs[0], file)
}

func TestDamageIsSetAside(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, h *History)
		aside  bool
	}{
		"a block's index": {func(t *testing.T, h *History) { spoil(t, block(t, h, "index")) }, true},
		"an index that is cut": {func(t *testing.T, h *History) {
			change(t, block(t, h, "index"), func(b []byte) []byte { return b[:len(b)/2] })
		}, true},
		"an index that is gone":   {func(t *testing.T, h *History) { require.NoError(t, os.Remove(block(t, h, "index"))) }, true},
		"a block's meta":          {func(t *testing.T, h *History) { spoil(t, block(t, h, "meta.json")) }, true},
		"a meta that is gone":     {func(t *testing.T, h *History) { require.NoError(t, os.Remove(block(t, h, "meta.json"))) }, true},
		"a meta that is empty":    {func(t *testing.T, h *History) { require.NoError(t, os.Truncate(block(t, h, "meta.json"), 0)) }, true},
		"a block's measurements":  {func(t *testing.T, h *History) { spoil(t, block(t, h, "chunks/000001")) }, true},
		"measurements gone":       {func(t *testing.T, h *History) { require.NoError(t, os.RemoveAll(block(t, h, "chunks"))) }, true},
		"the log":                 {func(t *testing.T, h *History) { spoil(t, newest(t, filepath.Join(h.dir, "wal"))) }, false},
		"a log that is no folder": {func(t *testing.T, h *History) { noFolder(t, filepath.Join(h.dir, "wal")) }, true},
		"a gap in the log": {func(t *testing.T, h *History) {
			require.NoError(t, os.WriteFile(filepath.Join(h.dir, "wal", "00000099"), nil, 0o600))
		}, true},
		"a checkpoint": {func(t *testing.T, h *History) {
			all, err := filepath.Glob(filepath.Join(h.dir, "wal", "checkpoint.*", "0*"))
			require.NoError(t, err)
			require.NotEmpty(t, all)
			spoil(t, all[0])
		}, true},
		"mapped chunks":      {func(t *testing.T, h *History) { spoil(t, newest(t, filepath.Join(h.dir, "chunks_head"))) }, false},
		"chunks no folder":   {func(t *testing.T, h *History) { noFolder(t, filepath.Join(h.dir, "chunks_head")) }, true},
		"out-of-order log":   {func(t *testing.T, h *History) { spoil(t, newest(t, filepath.Join(h.dir, "wbl"))) }, false},
		"a block, no folder": {func(t *testing.T, h *History) { noFolder(t, block(t, h, "chunks")) }, true},
	} {
		t.Run(name, func(t *testing.T) { damaged(t, c.damage, c.aside) })
	}
}

func noFolder(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.WriteFile(path, []byte("no folder"), 0o600))
}

// full is a history with blocks, a checkpoint, mapped chunks and measurements out of order.
func full(t *testing.T) *History {
	h := open(t, t.TempDir(), Options{})
	for i := range 12 {
		fill(t, h, start.Add(time.Duration(i)*time.Hour), 240, 15*time.Second)
		compact(t, h)
		h.db.ForceHeadMMap()
	}
	fill(t, h, start.Add(11*time.Hour+30*time.Minute+time.Second), 20, time.Minute)
	require.NoError(t, h.Close())
	return h
}

func damaged(t *testing.T, damage func(*testing.T, *History), aside bool) {
	h := full(t)
	damage(t, h)
	l := &logs{}
	h = open(t, h.dir, Options{Logger: l.logger()})
	before := len(loads(t, h, start, start.Add(13*time.Hour)))
	assert.Greater(t, before, 1000, "what is not damaged is still there")
	if aside {
		assert.Contains(t, l.String(), "a part of the metric history was set aside")
		assert.DirExists(t, filepath.Join(h.dir, asideFolder))
	} else {
		assert.NoDirExists(t, filepath.Join(h.dir, asideFolder))
	}
	fill(t, h, start.Add(14*time.Hour), 100, 15*time.Second)
	compact(t, h)
	require.NoError(t, h.Close())
	h = open(t, h.dir, Options{})
	assert.Len(t, loads(t, h, start, start.Add(15*time.Hour)), before+100)
}

func TestWhateverIsDamagedTheAgentGoesOn(t *testing.T) {
	original := full(t).dir
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 15 {
		dir := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.CopyFS(dir, os.DirFS(original)))
		var files []string
		require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
				files = append(files, path)
			}
			return err
		}))
		for range 1 + random.IntN(3) {
			scratch(t, random, files[random.IntN(len(files))])
		}
		h := open(t, dir, Options{})
		_, err := h.Query(t.Context(), Query{To: start.Add(20 * time.Hour), Step: time.Minute})
		require.NoError(t, err)
		_, err = h.Names(t.Context())
		require.NoError(t, err)
		fill(t, h, start.Add(14*time.Hour), 100, 15*time.Second)
		assert.Len(t, loads(t, h, start.Add(14*time.Hour), start.Add(15*time.Hour)), 100)
		require.NoError(t, h.Close())
	}
}

// scratch damages a file in one of the ways of disks.
func scratch(t *testing.T, random *rand.Rand, path string) {
	t.Helper()
	change(t, path, func(b []byte) []byte {
		if len(b) == 0 {
			return b
		}
		at := random.IntN(len(b))
		switch random.IntN(4) {
		case 0:
			return b[:at]
		case 1:
			b[at] ^= 1 << random.IntN(8)
		case 2:
			clear(b[at:min(len(b), at+4096)])
		default:
			for i := at; i < min(len(b), at+64); i++ {
				b[i] = byte(random.Uint32())
			}
		}
		return b
	})
}
