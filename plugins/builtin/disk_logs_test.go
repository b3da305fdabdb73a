package builtin

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

// unpacked reads a rotated log.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	switch filepath.Ext(path) {
	case ".gz":
		z, err := gzip.NewReader(bytes.NewReader(data))
		require.NoError(t, err)
		data, err = io.ReadAll(z)
		require.NoError(t, err)
	case ".zst":
		out, err := exec.CommandContext(context.Background(), testenv.Need(t, "zstd")[0], "-dc", path).Output()
		require.NoError(t, err)
		data = out
	}
	return string(data)
}

func logLines(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "%08d GET /shop/item/%d 200 %d\n", i, i*7919%10007, i*104729%100003)
	}
	return text.String()
}

func (b *bin) logs(more map[string]any) map[string]any {
	rule := map[string]any{"path": b.dir, "bigger_than": "1MB"}
	maps.Copy(rule, more)
	return map[string]any{"rules": []any{map[string]any{"logs": rule}}}
}

func (b *bin) rotated(suffix string) (list []string) {
	list, err := filepath.Glob(b.dir + "/app.log-*" + suffix)
	require.NoError(b.t, err)
	slices.Sort(list)
	return list
}

func TestDiskRotatesLogs(t *testing.T) {
	text := logLines(80_000) // three pieces
	for compress, suffix := range map[string]string{"gzip": "Z.gz", "zstd": "Z.zst", "none": "Z"} {
		t.Run(compress, func(t *testing.T) {
			b := newBin(t)
			path := b.dir + "/app.log"
			require.NoError(t, os.WriteFile(path, []byte(text), 0o604))
			require.NoError(t, os.Chmod(path, 0o604))
			b.put("small.log", 100, 0)
			writer, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			defer writer.Close()
			options := b.logs(map[string]any{"compress": compress})
			before := b.names()
			plan, err := b.d.Recover(ctx(t), planned(b.request(options)))
			require.NoError(t, err)
			require.Equal(t, before, b.names())
			require.Contains(t, strings.Join(plan.Changes, "\n"), "rotate "+path)
			res, err := b.do(options)
			require.NoError(t, err)
			list := b.rotated(suffix)
			require.Len(t, list, 1, res.Changes)
			require.Equal(t, text, unpacked(t, list[0]))
			info, err := os.Stat(list[0])
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o604), info.Mode().Perm())
			_, err = writer.WriteString("the writer goes on\n")
			require.NoError(t, err)
			now, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "the writer goes on\n", string(now))
			require.Len(t, b.names(), 3)
		})
	}
}

// TestDiskRotatesAtTheLastByte: a log has filled its file system, so that there is no room for the copy.
func TestDiskRotatesAtTheLastByte(t *testing.T) {
	b := newBin(t)
	b.dir = filepath.Join(t.TempDir(), "disk")
	testenv.Tmpfs(t, b.dir, "size=4m")
	path, text := b.dir+"/app.log", logLines(150_000)
	f, err := os.Create(path)
	require.NoError(t, err)
	n, err := f.WriteString(text)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	require.Greater(t, n, 3<<20)
	res, err := b.do(b.logs(map[string]any{"path": b.dir}))
	require.NoError(t, err)
	require.Len(t, b.rotated("Z.gz"), 1, res.Changes)
	require.Equal(t, text[:n], unpacked(t, b.rotated("Z.gz")[0]))
	free, err := roomOf(b.dir)
	require.NoError(t, err)
	require.Greater(t, free.free, int64(2<<20), res)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Zero(t, info.Size())
}

// TestDiskLosesNothingWithoutRoom: where no place can be given up piece by piece, a log that finds no room for its copy
// stays as it is.
func TestDiskLosesNothingWithoutRoom(t *testing.T) {
	b := newBin(t)
	b.dir = filepath.Join(t.TempDir(), "disk")
	testenv.Tmpfs(t, b.dir, "size=4m")
	text := logLines(150_000)
	path := b.dir + "/app.log"
	f, err := os.Create(path)
	require.NoError(t, err)
	n, err := f.WriteString(text)
	require.ErrorIs(t, err, syscall.ENOSPC)
	r := &rotation{codec: codecs()["gzip"], log: f, whole: true}
	r.part, err = os.Create(b.dir + "/part")
	require.NoError(t, err)
	require.ErrorIs(t, roomError(path, r.copy(ctx(t))), errNoRoom)
	require.Zero(t, r.kept)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text[:n], string(data))
	require.NoError(t, r.part.Close())
	require.NoError(t, f.Close())
}

func TestDiskKeepsTheNewestRotatedLogs(t *testing.T) {
	b := newBin(t)
	for i := range 5 {
		b.put(fmt.Sprintf("app.log-2026010%dT000000Z.gz", i+1), 10_000, 0)
	}
	b.put("app.log-of-last-year", 10_000, 9*week)
	b.put("other.log-20260101T000000Z.gz", 10_000, 0) // there is no log of that name
	b.put("app.log", 2_000_000, 0)
	_, err := b.do(b.logs(map[string]any{"keep": 3}))
	require.NoError(t, err)
	list := b.rotated("Z.gz")
	require.Len(t, list, 3)
	require.Contains(t, list[0], "20260104")
	require.FileExists(t, b.dir+"/app.log-of-last-year")
	require.FileExists(t, b.dir+"/other.log-20260101T000000Z.gz")

	b.put("app.log", 2_000_000, 0)
	_, err = b.do(b.logs(map[string]any{"keep": 0}))
	require.NoError(t, err)
	require.Empty(t, b.rotated("Z.gz"))
	info, err := os.Stat(b.dir + "/app.log")
	require.NoError(t, err)
	require.Zero(t, info.Size())
}

func TestDiskRenamesALogThatCanBeReopened(t *testing.T) {
	b := newBin(t)
	text := logLines(80_000)
	path := b.dir + "/app.log"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	_, err := b.do(b.logs(map[string]any{"reopen": []string{"false"}}))
	require.ErrorContains(t, err, "exit status 1")
	require.Equal(t, []string{"app.log"}, b.names(), "the log must have its name again")
	_, err = b.do(b.logs(map[string]any{"reopen": []string{"touch", path}}))
	require.NoError(t, err)
	require.Len(t, b.rotated("Z.gz"), 1)
	require.Equal(t, text, unpacked(t, b.rotated("Z.gz")[0]))
	require.Len(t, b.names(), 2)

	// One that the service still writes to is compressed the next time.
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	writer, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	res, err := b.do(b.logs(map[string]any{"reopen": []string{"true"}}))
	require.NoError(t, err)
	require.Contains(t, strings.Join(res.Changes, "\n"), "still written to")
	require.Len(t, b.rotated("Z"), 1)
	require.NoError(t, writer.Close())
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err = b.do(b.logs(map[string]any{"reopen": []string{"true"}}))
	require.NoError(t, err)
	require.Empty(t, b.rotated("Z"))
	require.Len(t, b.rotated("Z*.gz"), 2)
}

func TestDiskRotationSurvivesAKill(t *testing.T) {
	b := newBin(t)
	text := logLines(150_000)
	path := b.dir + "/app.log"
	for kills := range 3 {
		for _, name := range b.names() {
			require.NoError(t, os.Remove(filepath.Join(b.dir, name)))
		}
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		req := b.request(b.logs(nil))
		cmd := exec.Command(os.Args[0], "agent", string(jsonOf(t, map[string]any{"Plugin": "disk", "Request": req})))
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool {
			parts, _ := filepath.Glob(b.dir + "/.*" + partMark)
			if len(parts) == 0 {
				return false
			}
			info, err := os.Stat(parts[0])
			return err == nil && info.Size() > int64(kills+1)<<17
		}, 20*time.Second, time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		_, err := b.d.Recover(ctx(t), req)
		require.NoError(t, err)
		list := b.rotated("Z*.gz")
		if len(list) == 1 {
			t.Log("the step was done before it was killed")
			require.Equal(t, text, unpacked(t, list[0]))
			continue
		}
		require.Len(t, list, 2, "what the killed step copied, and the rest")
		first, second := unpacked(t, list[0]), unpacked(t, list[1])
		if !strings.HasSuffix(text, second) { // the first ends where the step was killed
			first, second = second, first
		}
		joined := first + second
		require.True(t, strings.HasPrefix(text, first))
		require.True(t, strings.HasSuffix(text, second))
		require.GreaterOrEqual(t, len(joined), len(text), "something was lost")
		require.LessOrEqual(t, len(joined), len(text)+pieceSize, "more than one piece was doubled")
	}
}

// TestDiskDoesNotCutThroughALink: a log that is another name of a file elsewhere is left alone.
func TestDiskDoesNotCutThroughALink(t *testing.T) {
	b := newBin(t)
	outside := filepath.Join(filepath.Dir(b.dir), "precious")
	require.NoError(t, os.WriteFile(outside, bytes.Repeat([]byte("x"), 2_000_000), 0o600))
	require.NoError(t, os.Link(outside, b.dir+"/hard.log"))
	require.NoError(t, os.Symlink(outside, b.dir+"/soft.log"))
	res, err := b.do(b.logs(nil))
	require.NoError(t, err)
	require.Contains(t, strings.Join(res.Changes, "\n"), "hard.log stays: it has 2 names")
	info, err := os.Stat(outside)
	require.NoError(t, err)
	require.EqualValues(t, 2_000_000, info.Size())
}

// TestPiecesThatAreWhole: whatever the place at which a copy was cut off, what is left can be read.
func TestPiecesThatAreWhole(t *testing.T) {
	for name, c := range codecs() {
		if c.unpack == nil {
			continue
		}
		var all []byte
		ends := []int{0}
		for i := range 5 {
			packed, err := c.pack([]byte(logLines(200 + 1000*i)))
			require.NoError(t, err)
			all = append(all, packed...)
			ends = append(ends, len(all))
		}
		cuts := []int{}
		for _, end := range ends {
			for near := max(0, end-12); near <= min(end+12, len(all)); near += 3 {
				cuts = append(cuts, near)
			}
			cuts = append(cuts, end+(len(all)-end)/3)
		}
		for _, cut := range cuts {
			want := 0
			for _, end := range ends {
				if end <= cut {
					want = end
				}
			}
			require.Equal(t, want, c.whole(all[:cut]), "%s cut at %d of %v", name, cut, ends)
		}
		require.Equal(t, len(all)-ends[1]-7, c.whole(all[ends[1]+7:]), "the end of a file that begins in the midst of a piece")
	}
}
