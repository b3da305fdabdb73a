package detect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// reloaded is a detector with another seed that goes on where d is.
func reloaded(t testing.TB, d *Detector) *Detector {
	t.Helper()
	var saved bytes.Buffer
	require.NoError(t, d.Save(&saved))
	next, err := New(Options{Rules: d.rules, Host: d.host, Seed: d.seed*31 + 7, Signatures: known{}})
	require.NoError(t, err)
	require.NoError(t, next.Load(bytes.NewReader(saved.Bytes())))
	if d.lists[rankPinned].n == 0 { // the pinned are not pinned any more
		var again bytes.Buffer
		require.NoError(t, next.Save(&again))
		require.Equal(t, saved.Bytes(), again.Bytes(), "what was loaded is saved the same")
	}
	return next
}

func TestARestartAnywhereChangesNothing(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*", "events"))
	require.NoError(t, err)
	for _, file := range files {
		events := readEvents(t, file)
		want := decided(t, events, 1)
		for _, every := range []int{1, 7, 40} {
			if len(events)/every > 300 {
				continue
			}
			d := detector(t, func(r *config.ThreatRules) { r.MaxSources = 2000 })
			var got bytes.Buffer
			for i := range events {
				for _, decision := range d.Observe(&events[i], nil) {
					require.NoError(t, json.NewEncoder(&got).Encode(decision.Threat))
				}
				if i%every == every-1 {
					d = reloaded(t, d)
				}
			}
			require.Equal(t, string(want), got.String(), "%s, a restart each %d events", file, every)
		}
	}
}

// The same with random events, times out of order, and a table that is too small.
func TestARestartAnywhereChangesNothingUnderPressure(t *testing.T) {
	for seed := range uint64(6) {
		small := func(r *config.ThreatRules) { r.MaxSources = 60 }
		a, b := detector(t, small), detector(t, small)
		rnd := rand.New(rand.NewPCG(seed, 5))
		now, decisions := at(0), 0
		for i := range 6000 {
			now += rnd.Int64N(int64(time.Second))
			e := anything(rnd, 70, now)
			e.At -= rnd.Int64N(int64(90 * time.Second))
			want := a.Observe(e, nil)
			require.Equal(t, want, b.Observe(e, nil), "seed %d, event %d", seed, i)
			decisions += len(want)
			if rnd.IntN(20) == 0 {
				b = reloaded(t, b)
			}
		}
		require.Greater(t, decisions, 50)
		require.Positive(t, a.Stats().Evicted)
	}
}

func TestWhoWasPinnedWhenSavedStartsAfreshUnlessPinnedAgain(t *testing.T) {
	d := detector(t)
	for range 9 {
		d.Observe(failure("203.0.113.7", "root", 0), nil)
		d.Observe(failure("203.0.113.8", "root", 0), nil)
	}
	require.True(t, d.Pin(netip.MustParsePrefix("203.0.113.7/32")))
	require.True(t, d.Pin(netip.MustParsePrefix("203.0.113.8/32")))
	next := reloaded(t, d)
	require.True(t, next.Pin(netip.MustParsePrefix("203.0.113.7/32")))
	require.Equal(t, "brute_force_critical@1s", types(next.Observe(failure("203.0.113.7", "root", time.Second), nil)), "still isolated")
	require.Empty(t, next.Observe(failure("203.0.113.8", "root", time.Second), nil), "let go meanwhile")
}

func TestSnapshotsAreBounded(t *testing.T) {
	d := detector(t)
	for range 6 {
		d.Observe(failure("198.51.100.1", "root", 0), nil)
	}
	flood(d, 0, 150_000, at(0), logs.Request)
	var saved bytes.Buffer
	require.NoError(t, d.Save(&saved))
	require.Less(t, saved.Len(), 8<<20)
	next := detector(t)
	require.NoError(t, next.Load(&saved))
	require.Equal(t, snapshotEntries, next.Stats().Sources)
	seen, ok := next.Look(netip.MustParsePrefix("198.51.100.1/32"))
	require.True(t, ok)
	require.Equal(t, 6, seen.Failures)
}

func TestALoadIntoASmallerTableKeepsTheNearest(t *testing.T) {
	d := detector(t)
	for range 6 {
		d.Observe(failure("198.51.100.1", "root", 0), nil)
	}
	flood(d, 0, 5000, at(0), logs.Request)
	var saved bytes.Buffer
	require.NoError(t, d.Save(&saved))
	next := detector(t, func(r *config.ThreatRules) { r.MaxSources, r.FailuresCritical, r.SlowFailures = 100, 5, 5 })
	require.NoError(t, next.Load(&saved))
	whole(t, next)
	_, ok := next.Look(netip.MustParsePrefix("198.51.100.1/32"))
	require.True(t, ok)
}

// busyDetector has some of everything.
func busyDetector(t testing.TB) *Detector {
	d := detector(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	now := at(0)
	for range 3000 {
		now += rnd.Int64N(int64(time.Second))
		d.Observe(anything(rnd, 30, now), nil)
	}
	d.Pin(netip.MustParsePrefix("203.0.113.2/32"))
	return d
}

func TestADamagedSnapshotIsRefusedAndChangesNothing(t *testing.T) {
	var saved bytes.Buffer
	require.NoError(t, busyDetector(t).Save(&saved))
	good := saved.Bytes()
	d := detector(t)
	d.Observe(failure("198.51.100.1", "root", 0), nil)
	refused := func(b []byte) {
		t.Helper()
		err := d.Load(bytes.NewReader(b))
		require.Error(t, err)
		require.NotEmpty(t, shivx.HintOf(err))
		require.Equal(t, 1, d.Stats().Sources)
	}
	for _, i := range []int{0, 4, 5, 30, len(good) / 2, len(good) - 1} {
		bad := bytes.Clone(good)
		bad[i] ^= 4
		refused(bad)
		refused(good[:i])
	}
	refused(append(bytes.Clone(good), 0))
	require.NoError(t, d.Load(bytes.NewReader(good)))
}

func FuzzLoad(f *testing.F) {
	var saved bytes.Buffer
	require.NoError(f, busyDetector(f).Save(&saved))
	f.Add(saved.Bytes()[5 : saved.Len()-4])
	saved.Reset()
	require.NoError(f, detector(f).Save(&saved))
	f.Add(saved.Bytes()[5 : saved.Len()-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		data := append([]byte(snapshotMagic), snapshotVersion)
		data = append(data, body...)
		data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
		d := detector(t, func(r *config.ThreatRules) { r.MaxSources = 50 })
		if d.Load(bytes.NewReader(data)) != nil {
			return
		}
		whole(t, d)
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range 200 {
			d.Observe(anything(rnd, 60, at(time.Duration(i)*time.Second)), nil)
		}
		d.Top(10)
		whole(t, d)
	})
}
