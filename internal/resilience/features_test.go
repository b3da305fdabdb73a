package resilience

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestFeaturesFollowTheLevel(t *testing.T) {
	b := newBench(t)
	var seen []*Snapshot
	b.core.OnFeatures(func(s *Snapshot) { seen = append(seen, s) })
	normal := b.core.Features()
	require.Len(t, normal.List, 8)
	require.Equal(t, shivx.Feature{Name: "analytics", OffAt: shivx.Level1, Enabled: true, Reason: "on: the host is at NORMAL"}, first(normal.Lookup("analytics")))
	require.Equal(t, shivx.Feature{Name: "chat", Enabled: true, Reason: "kept on at every level"}, first(normal.Lookup("chat")))
	_, known := normal.Lookup("nope")
	require.False(t, known)

	b.steps(2, 43)
	b.steps(5, 43)
	require.Len(t, seen, 1)
	require.Same(t, seen[0], b.core.Features())
	require.Equal(t, shivx.Level2, seen[0].Level)
	require.EqualValues(t, 1, seen[0].Version)
	require.NotEqual(t, normal.ETag, seen[0].ETag)
	off := first(seen[0].Lookup("web_search"))
	require.False(t, off.Enabled)
	require.Equal(t, "off since 14:00 UTC on 1 Mar: the host is at LEVEL_2 (score below 65 in 2 samples, now 57.0; memory (43.0 %) costs most)", off.Reason)
	require.True(t, first(seen[0].Lookup("uploads")).Enabled)

	b.clock.pass(time.Hour)
	b.override("", askFor(shivx.Level1, time.Hour))
	now := b.core.Features()
	require.Equal(t, "off since 14:00 UTC on 1 Mar: the host is held at LEVEL_1 by ann until 16:00 UTC on 1 Mar: deploy", first(now.Lookup("analytics")).Reason)
	require.True(t, first(now.Lookup("web_search")).Enabled)
	require.Len(t, b.core.Status().DegradedFeatures, 2)
	b.override("", shivx.OverrideRequest{End: true, By: "ann"})
	require.Contains(t, first(b.core.Features().Lookup("web_search")).Reason, "off since 15:00 UTC", "off anew")
	require.Contains(t, first(b.core.Features().Lookup("analytics")).Reason, "off since 14:00 UTC", "off all the time")

	b.steps(40, 0)
	require.Equal(t, normal.ETag, b.core.Features().ETag, "the same answers have the same tag")
	calls := 0
	for range 3 {
		require.Equal(t, "body", normal.Encoded(func(*Snapshot) any { calls++; return "body" }))
	}
	require.Equal(t, 1, calls)
}

func TestFlagsFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "flags.json")
	b := newBench(t, func(b *bench) { b.flags = path })
	read := func() (f Flags) {
		t.Helper()
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &f))
		return f
	}
	require.False(t, b.core.writeFlags())
	f := read()
	require.Equal(t, "box", f.Host)
	require.Equal(t, shivx.LevelNormal, f.Level)
	require.Equal(t, Flag{Enabled: true, Reason: "on: the host is at NORMAL"}, f.Features["analytics"])
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode())

	b.steps(2, 90)
	require.False(t, b.core.writeFlags())
	f = read()
	require.Equal(t, shivx.LevelEmergency, f.Level)
	require.EqualValues(t, 1, f.Version)
	require.Equal(t, b.core.Features().Changed, f.ChangedAt)
	require.False(t, f.Features["memory_writes"].Enabled)
	require.True(t, f.Features["chat"].Enabled)
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 2, "the file and its spare; no temporary file stays behind")
}

func TestFlagsFileThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "run")
	require.NoError(t, os.WriteFile(inTheWay, nil, 0o600))
	path := filepath.Join(inTheWay, "flags.json")
	b := newBench(t, func(b *bench) { b.flags = path })
	b.run()
	noticed := func() bool { return len(b.core.Status().Notices) == 1 }
	require.Eventually(t, noticed, 10*time.Second, time.Millisecond)
	require.Contains(t, b.core.Status().Notices[0], "flags file")
	require.NoError(t, os.Remove(inTheWay))
	b.clock.beat() // each sample tries again, with no change of the level
	require.Eventually(t, func() bool { return len(b.core.Status().Notices) == 0 }, 10*time.Second, time.Millisecond)
	require.FileExists(t, path)
}
