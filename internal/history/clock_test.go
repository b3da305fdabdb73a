package history

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// ticking is a clock that a test moves.
type ticking struct{ at time.Time }

func (c *ticking) now() time.Time { return c.at }

func TestAClockThatGoesBackALittle(t *testing.T) {
	h := open(t, t.TempDir(), Options{})
	fill(t, h, start, 120, time.Minute)
	fill(t, h, start.Add(90*time.Minute+time.Second), 29, time.Minute)
	got := loads(t, h, start, start.Add(2*time.Hour))
	require.Len(t, got, 149)
	for i := 1; i < len(got); i++ {
		require.True(t, got[i-1].At.Before(got[i].At), "in the order of time")
	}
	require.NoError(t, h.Close())
	assert.Len(t, loads(t, open(t, h.dir, Options{}), start, start.Add(2*time.Hour)), 149, "also after a restart")
}

func TestAClockThatWasAheadIsForgotten(t *testing.T) {
	for name, ahead := range map[string]time.Duration{
		"hours": 5 * time.Hour, "a year": 365 * 24 * time.Hour, "a block's part": 3*time.Hour + 17*time.Minute,
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) { clockAhead(t, ahead, restart) })
		}
	}
}

// clockAhead measures for 30 hours, six hours with a clock ahead, and then with the right one.
func clockAhead(t *testing.T, ahead time.Duration, restart bool) {
	c, l := &ticking{at: time.Now()}, &logs{}
	o := Options{now: c.now, Logger: l.logger()}
	h := open(t, t.TempDir(), o)
	hours(t, h, start, 30)
	right := start.Add(30 * time.Hour)
	hours(t, h, right.Add(ahead), 6)
	if restart {
		require.NoError(t, h.Close())
		h = open(t, h.dir, o)
	}
	now := right.Add(6 * time.Hour)
	refused := 0
	for range 70 {
		err := h.Append(now, figures(1000))
		if err == nil {
			break
		}
		var r *Refused
		require.ErrorAs(t, err, &r)
		require.Equal(t, 3, r.TooOld)
		require.Contains(t, shivx.HintOf(err), "the clock went back")
		refused++
		now, c.at = now.Add(5*time.Second), c.at.Add(5*time.Second)
	}
	assert.Empty(t, loads(t, h, now.Add(time.Second), now.AddDate(2, 0, 0)), "nothing of the future")
	require.NotZero(t, refused)
	assert.Contains(t, l.String(), "was set aside")
	assert.DirExists(t, filepath.Join(h.dir, asideFolder))
	assert.GreaterOrEqual(t, len(loads(t, h, start, right.Add(-time.Minute))), 1800, "all that was measured before")
	fill(t, h, now.Add(5*time.Second), 100, 5*time.Second)
	compact(t, h)
	assert.Len(t, loads(t, h, now, now.Add(time.Hour)), 101)
}

func TestAClockSetSoonAfterTheStartCostsNothing(t *testing.T) {
	c := &ticking{at: time.Now()}
	h := open(t, t.TempDir(), Options{now: c.now})
	hours(t, h, start, 6)
	boot := time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC)
	for i := range 50 {
		require.Error(t, h.Append(boot.Add(time.Duration(i)*5*time.Second), figures(1)))
		c.at = c.at.Add(5 * time.Second)
	}
	fill(t, h, start.Add(7*time.Hour), 1000, 5*time.Second)
	assert.Len(t, loads(t, h, start, start.Add(6*time.Hour)), 360)
	assert.NoDirExists(t, filepath.Join(h.dir, asideFolder))
}

func TestOnlyTheNewestIsKeptAside(t *testing.T) {
	c := &ticking{at: start}
	h := open(t, t.TempDir(), Options{now: c.now})
	for i := range keptAside + 3 {
		c.at = c.at.Add(time.Hour)
		require.NoError(t, os.WriteFile(filepath.Join(h.dir, "x"), []byte{byte(i)}, 0o600))
		require.True(t, h.setAside("x", os.ErrInvalid, "x"))
	}
	left, err := os.ReadDir(filepath.Join(h.dir, asideFolder))
	require.NoError(t, err)
	require.Len(t, left, keptAside)
	newest, err := os.ReadFile(filepath.Join(h.dir, asideFolder, left[keptAside-1].Name(), "x"))
	require.NoError(t, err)
	assert.Equal(t, []byte{keptAside + 2}, newest)
}
