package history

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/vitals"
)

// start is the event time at which the tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// logs collects log lines.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func open(t testing.TB, dir string, o Options) *History {
	t.Helper()
	h, err := Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// fill appends n samples of load, whose value counts from 0, and of a constant per mount.
func fill(t testing.TB, h *History, from time.Time, n int, every time.Duration) {
	t.Helper()
	for i := range n {
		require.NoError(t, h.Append(from.Add(time.Duration(i)*every), figures(float64(i))))
	}
}

func figures(v float64) []vitals.Figure {
	return []vitals.Figure{
		{Name: "shivx_host_load_1m", Value: v},
		{Name: "shivx_host_disk_used_ratio", Label: "mountpoint", Subject: "/", Value: 0.5},
		{Name: "shivx_host_disk_used_ratio", Label: "mountpoint", Subject: "/var", Value: 0.25},
	}
}

// loads returns the measurements of the load from from on.
func loads(t testing.TB, h *History, from, to time.Time) []Point {
	t.Helper()
	got, err := h.Query(t.Context(), Query{Name: "shivx_host_load_1m", From: from, To: to})
	require.NoError(t, err)
	if len(got) == 0 {
		return nil
	}
	require.Len(t, got, 1)
	return got[0].Points
}

func TestQueryPutsMeasurementsTogether(t *testing.T) {
	h := open(t, t.TempDir(), Options{})
	fill(t, h, start.Add(5*time.Second), 100, 5*time.Second)
	to := start.Add(time.Hour)

	got, err := h.Query(t.Context(), Query{Name: "shivx_host_load_1m", From: start, To: to, Step: time.Minute})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Len(t, got[0].Points, 9)
	assert.Equal(t, Point{At: start, Mean: 5, Min: 0, Max: 10, Last: 10}, got[0].Points[0])
	assert.Equal(t, Point{At: start.Add(time.Minute), Mean: 16.5, Min: 11, Max: 22, Last: 22}, got[0].Points[1])

	raw := loads(t, h, start, to)
	require.Len(t, raw, 100)
	assert.Equal(t, Point{At: start.Add(10 * time.Second), Mean: 1, Min: 1, Max: 1, Last: 1}, raw[1])
	assert.Len(t, loads(t, h, start.Add(10*time.Second), start.Add(20*time.Second)), 3, "both ends count")
	inner, err := h.Query(t.Context(), Query{Name: "shivx_host_load_1m", From: start.Add(90 * time.Second), To: to, Step: time.Minute})
	require.NoError(t, err)
	assert.Equal(t, got[0].Points[1:], inner[0].Points, "the same steps, wherever the question begins")

	all, err := h.Query(t.Context(), Query{To: to, Step: time.Hour})
	require.NoError(t, err)
	var names []string
	for _, s := range all {
		names = append(names, s.String())
	}
	assert.Equal(t, []string{
		`shivx_host_disk_used_ratio{mountpoint="/"}`, `shivx_host_disk_used_ratio{mountpoint="/var"}`, "shivx_host_load_1m",
	}, names)
	one, err := h.Query(t.Context(), Query{Matchers: map[string]string{"mountpoint": "/var"}, To: to, Step: time.Hour})
	require.NoError(t, err)
	require.Len(t, one, 1)
	assert.Equal(t, Point{At: start, Mean: 0.25, Min: 0.25, Max: 0.25, Last: 0.25}, one[0].Points[0])
	none, err := h.Query(t.Context(), Query{Name: "other", To: to})
	require.NoError(t, err)
	assert.Empty(t, none)

	list, err := h.Names(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"shivx_host_disk_used_ratio", "shivx_host_load_1m"}, list)
}

func TestQueryIsBounded(t *testing.T) {
	h := open(t, t.TempDir(), Options{})
	for i := range MaxPoints + 1 {
		require.NoError(t, h.Append(start.Add(time.Duration(i)*time.Second), figures(1)[:1]))
	}
	end := start.Add(MaxPoints * time.Second)
	for _, q := range []Query{
		{Name: "shivx_host_load_1m", From: start, To: end},
		{From: start, To: end, Step: time.Second},
		{From: start.AddDate(-1, 0, 0), To: end, Step: time.Minute},
	} {
		_, err := h.Query(t.Context(), q)
		require.ErrorIs(t, err, ErrTooMany)
		assert.NotEmpty(t, shivx.HintOf(err))
	}
	got, err := h.Query(t.Context(), Query{Name: "shivx_host_load_1m", From: start, To: end.Add(-time.Second)})
	require.NoError(t, err)
	assert.Len(t, got[0].Points, MaxPoints)
	for _, q := range []Query{{From: end, To: start}, {From: start, To: end, Step: -1}, {From: start, To: end, Step: 1}} {
		_, err := h.Query(t.Context(), q)
		assert.Error(t, err)
	}
}

func TestUnfitFiguresAreNamedAndTheOthersKept(t *testing.T) {
	h := open(t, t.TempDir(), Options{})
	err := h.Append(start, figures(7), []vitals.Figure{
		{Name: "nan", Value: math.NaN()}, {Name: "inf", Value: math.Inf(1)}, {Name: "bad name", Value: 1},
		{Name: "ok", Label: "bad-label", Subject: "x"}, {Name: "ok", Label: "__name__", Subject: "x"}, {Name: "", Value: 1},
		{Name: "ok", Label: "path", Subject: "/broken\xff", Value: 1}, {Name: "ok", Label: "path", Value: 2},
		{Name: "shivx_host_load_1m", Value: 8},
	}...)
	var r *Refused
	require.ErrorAs(t, err, &r)
	assert.Equal(t, &Refused{Of: 12, Duplicate: 0, Unfit: 6, First: "nan: NaN is no finite number"}, r)
	require.EqualError(t, err, "6 of 12 figures were not kept in the metric history: 6 unfit; the first: nan: NaN is no finite number")
	require.Len(t, loads(t, h, start, start), 1)
	assert.Equal(t, Point{At: start, Mean: 7, Min: 7, Max: 7, Last: 7}, loads(t, h, start, start)[0])

	err = h.Append(start, []vitals.Figure{{Name: "shivx_host_load_1m", Value: 9}})
	require.ErrorAs(t, err, &r)
	assert.Equal(t, 1, r.Duplicate, "%v", err)
	series, bytes, kept, refused := h.Counts()
	assert.Equal(t, []uint64{5, 6, 7}, []uint64{series, kept, refused})
	assert.Equal(t, sizeOf(h.dir), bytes)

	require.Error(t, h.Append(time.Unix(-5, 0), figures(1)))
	require.Error(t, h.Append(time.Time{}, figures(1)))
	require.Error(t, h.Append(start, make([]vitals.Figure, maxFigures+1)))
	assert.NoError(t, h.Append(start, nil))
}

func TestSeriesThatComeAndGoAreForgotten(t *testing.T) {
	h := open(t, t.TempDir(), Options{})
	for i := range 2000 {
		require.NoError(t, h.Append(start.Add(time.Duration(i)*time.Second), figures(1), vitals.Figure{Name: "m", Label: "id", Subject: fmt.Sprint(i)}))
	}
	assert.Less(t, len(h.series), 200)
}

func TestASecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, Options{})
	_, err := Open(dir, Options{})
	require.ErrorContains(t, err, "in use by another process")
	assert.NotEmpty(t, shivx.HintOf(err))
	require.NoError(t, h.Append(start, figures(1)), "the first is not disturbed")
	require.NoError(t, h.Close())
	require.NoError(t, h.Close())
	require.ErrorIs(t, h.Append(start, figures(1)), ErrClosed)
	_, err = h.Query(t.Context(), Query{})
	require.ErrorIs(t, err, ErrClosed)
	_, err = h.Names(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	again := open(t, dir, Options{})
	assert.Len(t, loads(t, again, start, start), 1)
}

func TestAFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(filepath.Join(file, "metrics"), Options{})
	require.Error(t, err)
	assert.NotEmpty(t, shivx.HintOf(err))
}

// compact does at once what the database does in the background.
func compact(t testing.TB, h *History) {
	t.Helper()
	require.NoError(t, h.db.Compact(t.Context()))
}

// hours fills hours of event time, a sample a minute, with compactions as they would come.
func hours(t testing.TB, h *History, from time.Time, n int) {
	t.Helper()
	for i := range n {
		fill(t, h, from.Add(time.Duration(i)*time.Hour), 60, time.Minute)
		compact(t, h)
	}
}

func TestRetentionByAge(t *testing.T) {
	h := open(t, t.TempDir(), Options{Retention: 48 * time.Hour})
	hours(t, h, start, 96)
	end := start.Add(96 * time.Hour)
	assert.Empty(t, loads(t, h, start, end.Add(-60*time.Hour)), "too old")
	assert.NotEmpty(t, loads(t, h, end.Add(-46*time.Hour), end.Add(-45*time.Hour)), "young enough")
}

func TestRetentionBySize(t *testing.T) {
	h := open(t, t.TempDir(), Options{MaxBytes: 300e3})
	noise := 0.
	for i := range 72 * 60 {
		noise = math.Mod(noise*1.37+0.7, 1)
		extra := make([]vitals.Figure, 20)
		for j := range extra {
			extra[j] = vitals.Figure{Name: "m", Label: "id", Subject: fmt.Sprint(j), Value: noise * float64(j+1)}
		}
		require.NoError(t, h.Append(start.Add(time.Duration(i)*time.Minute), figures(noise), extra...))
		if i%60 == 59 {
			compact(t, h)
		}
	}
	end := start.Add(72 * time.Hour)
	assert.Empty(t, loads(t, h, start, start.Add(12*time.Hour)), "the oldest were dropped")
	assert.NotEmpty(t, loads(t, h, end.Add(-6*time.Hour), end.Add(-5*time.Hour)), "the newest were not")
	var blocks int64
	for _, dir := range blockDirs(h.dir) {
		blocks += sizeOf(dir)
	}
	assert.Less(t, blocks, int64(300e3))
}

func TestARestMonthLongDropsTheOldOnceThereIsADayOfNew(t *testing.T) {
	h := open(t, t.TempDir(), Options{Retention: 72 * time.Hour})
	hours(t, h, start, 24)
	later := start.AddDate(0, 1, 0)
	hours(t, h, later, 6)
	assert.NotEmpty(t, loads(t, h, start, start.Add(6*time.Hour)), "a clock that is wrong for hours costs nothing")
	hours(t, h, later.Add(6*time.Hour), 30)
	assert.Empty(t, loads(t, h, start, start.Add(24*time.Hour)))
	assert.NotEmpty(t, loads(t, h, later, later.Add(time.Hour)))
}

func TestManyAtOnce(t *testing.T) {
	h := open(t, t.TempDir(), Options{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				err := h.Append(start.Add(time.Duration(i)*time.Second), []vitals.Figure{{Name: fmt.Sprintf("m%d", w), Value: 1}})
				if i%20 == 0 {
					_, asked := h.Query(t.Context(), Query{To: start.Add(time.Hour), Step: time.Minute})
					_, listed := h.Names(t.Context())
					err = errors.Join(err, asked, listed)
					h.Counts()
				}
				if !assert.NoError(t, err) {
					return
				}
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			assert.NoError(t, h.replace(func(*tsdb.DB) (func() error, error) { return func() error { return nil }, nil }))
		}
	})
	wg.Wait()
	for w := range 4 {
		got, err := h.Query(t.Context(), Query{Name: fmt.Sprintf("m%d", w), To: start.Add(time.Hour)})
		require.NoError(t, err)
		assert.Len(t, got[0].Points, 200)
	}
	_, _, kept, _ := h.Counts()
	assert.Equal(t, uint64(800), kept)
}

func TestLogsOnlyWhatMatters(t *testing.T) {
	l := &logs{}
	h := open(t, t.TempDir(), Options{Logger: l.logger()})
	hours(t, h, start, 8)
	require.NoError(t, h.Close())
	assert.Empty(t, strings.TrimSpace(l.String()))
	require.ErrorIs(t, h.Append(start, figures(1)), ErrClosed)
}
