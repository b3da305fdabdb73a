package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// event is what the tests write: about what the operational ledger holds.
type event struct {
	EventID    string         `json:"event_id"`
	Timestamp  string         `json:"timestamp"`
	EventType  string         `json:"event_type"`
	Component  string         `json:"component"`
	Outcome    string         `json:"outcome"`
	DurationMS int            `json:"duration_ms"`
	Details    map[string]any `json:"details,omitempty"`
}

func eventOf(i int) event {
	return event{
		EventID: fmt.Sprintf("evt-%06d", i), Timestamp: "2026-01-02T03:04:05.678Z", EventType: "recovery",
		Component: "redis", Outcome: "healed", DurationMS: i,
	}
}

func open(t testing.TB, path string, o Options) *Ledger {
	t.Helper()
	if o.HeadEvery == 0 {
		o.HeadEvery = time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func appendN(t testing.TB, l *Ledger, from, n int) []Record {
	t.Helper()
	var recs []Record
	for i := from; i < from+n; i++ {
		r, err := l.Append(t.Context(), fmt.Sprintf("key-%d", i), eventOf(i))
		require.NoError(t, err)
		recs = append(recs, r)
	}
	return recs
}

func tempLedger(t testing.TB) string {
	return filepath.Join(t.TempDir(), "operational_ledger.ndjson")
}

func readAll(t testing.TB, path string) []Record {
	t.Helper()
	var recs []Record
	require.NoError(t, Read(path, 0, func(r Record) error { recs = append(recs, r); return nil }))
	return recs
}

func TestAppendReadFindAcrossRotationAndRestart(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{MaxBytes: 4000})
	recs := appendN(t, l, 0, 60)
	require.NoError(t, l.Close())
	segs, err := sealedSegments(path)
	require.NoError(t, err)
	require.Greater(t, len(segs), 3, "the ledger must have rotated")

	l = open(t, path, Options{MaxBytes: 4000})
	recs = append(recs, appendN(t, l, 60, 20)...)
	require.Equal(t, recs, readAll(t, path))
	for i, r := range recs {
		require.Equal(t, uint64(i+1), r.Seq)
		var e event
		require.NoError(t, r.Decode(&e))
		require.Equal(t, eventOf(i), e)
		found, ok, err := l.Find(fmt.Sprintf("key-%d", i))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, r, found)
	}
	_, ok, err := l.Find("no such key")
	require.NoError(t, err)
	require.False(t, ok)
	for n := range 81 {
		tail, err := Tail(path, n)
		require.NoError(t, err)
		require.Len(t, tail, n)
		if n > 0 {
			require.Equal(t, recs[80-n:], tail)
		}
	}
	var from40 []Record
	require.NoError(t, Read(path, 40, func(r Record) error { from40 = append(from40, r); return nil }))
	require.Equal(t, recs[39:], from40)
}

func TestAppendIsIdempotent(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{MaxBytes: 1500})
	first := appendN(t, l, 0, 20)
	require.Equal(t, first, appendN(t, l, 0, 20))
	require.NoError(t, l.Close())
	l = open(t, path, Options{MaxBytes: 1500})
	require.Equal(t, first, appendN(t, l, 0, 20))

	var wg sync.WaitGroup
	got := make([]Record, 50)
	for i := range got {
		wg.Go(func() {
			r, err := l.Append(context.Background(), "same\"key\\", eventOf(i))
			if err == nil {
				got[i] = r
			}
		})
	}
	wg.Wait()
	for _, r := range got {
		require.Equal(t, uint64(21), r.Seq)
		require.Equal(t, got[0], r)
	}
	require.Len(t, readAll(t, path), 21)
}

func TestSecondWriterIsRefused(t *testing.T) {
	path := tempLedger(t)
	open(t, path, Options{})
	_, err := Open(path, Options{})
	require.ErrorIs(t, err, ErrLocked)
}

func TestConcurrentAppends(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{MaxBytes: 20_000, HeadRecords: 50, HeadEvery: 5 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var followed, tailed []Record
	var readers sync.WaitGroup
	readers.Go(func() {
		err := l.Follow(context.Background(), 1, func(r Record) error { followed = append(followed, r); return nil })
		if !errors.Is(err, ErrClosed) {
			t.Errorf("follow ended with %v", err)
		}
	})
	readers.Go(func() {
		_ = Follow(ctx, path, 1, func(r Record) error {
			if tailed = append(tailed, r); len(tailed) == 1600 {
				cancel()
			}
			return nil
		})
	})
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for i := range 100 {
				key := ""
				if i%2 == 0 {
					key = fmt.Sprintf("%d/%d", w, i)
				}
				if _, err := l.Append(context.Background(), key, eventOf(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	<-ctx.Done()
	require.NoError(t, l.Close())
	readers.Wait()
	recs := readAll(t, path)
	require.Len(t, recs, 1600)
	require.Equal(t, recs, tailed)
	require.Equal(t, recs, followed)
}

func TestAppendAllKeepsTheOrder(t *testing.T) {
	path := tempLedger(t)
	l := open(t, path, Options{})
	_, err := l.Append(t.Context(), "k3", eventOf(3))
	require.NoError(t, err)
	var entries []Entry
	for i := range 300 {
		entries = append(entries, Entry{Key: fmt.Sprintf("k%d", i), Fields: eventOf(i)})
	}
	entries = append(entries, Entry{Key: "k7", Fields: eventOf(7)}, Entry{Fields: eventOf(1)}, Entry{Fields: eventOf(1)})
	n, err := l.AppendAll(t.Context(), entries)
	require.NoError(t, err)
	require.Equal(t, len(entries), n)
	var keys []string
	require.NoError(t, Read(path, 1, func(r Record) error { keys = append(keys, r.Key); return nil }))
	want := []string{"k3"}
	for i := range 300 {
		if i != 3 {
			want = append(want, fmt.Sprintf("k%d", i))
		}
	}
	require.Equal(t, append(want, "", ""), keys)

	n, err = l.AppendAll(t.Context(), []Entry{{Key: "a", Fields: eventOf(1)}, {Key: "b", Fields: func() {}}, {Key: "c", Fields: eventOf(1)}})
	require.Error(t, err)
	require.Equal(t, 1, n, "what follows one that cannot be encoded is not there")
	require.NoError(t, l.Close())
	n, err = l.AppendAll(t.Context(), entries)
	require.ErrorIs(t, err, ErrClosed)
	require.Equal(t, 301, n, "those that were there already")
}
