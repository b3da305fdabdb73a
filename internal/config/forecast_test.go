package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSubsystemsOfTheHost(t *testing.T) {
	f := Default().Forecast
	require.True(t, f.Enabled)
	var names []string
	for _, s := range f.Subsystems {
		names = append(names, s.Name)
		require.True(t, s.Enabled, s.Name)
		require.Positive(t, s.Capacity, s.Name)
		require.GreaterOrEqual(t, s.Horizon, leastSteps*s.Step, s.Name)
		require.LessOrEqual(t, s.Horizon, mostSteps*s.Step, s.Name)
		require.Equal(t, SubsystemLimits{3, 24 * time.Hour, 15 * time.Minute}, s.Limits, s.Name)
	}
	require.Equal(t, []string{"cpu", "memory", "disk", "inodes", "open_files", "threads", "network"}, names)
}

func TestSubsystemsOfTheFile(t *testing.T) {
	f := loadFull(t).Forecast
	_, ok := f.Subsystem("network")
	require.False(t, ok, "turned off")
	disk, ok := f.Subsystem("disk")
	require.True(t, ok)
	require.Equal(t, "exhaustion", disk.Model)
	require.Equal(t, "shivx_host_filesystem_used_ratio", disk.Series[0].History)
	require.InDelta(t, 0.95, disk.Capacity, 0)
	require.Equal(t, 5*time.Minute, disk.Step)
	require.Equal(t, "free", disk.Mitigations[0].Name)
	queue, ok := f.Subsystem("queue")
	require.True(t, ok)
	require.True(t, queue.Counter)
	require.InDelta(t, 250.5, queue.Capacity, 0)
	cache, ok := f.Subsystem("cache-memory")
	require.True(t, ok)
	require.Equal(t, 6*time.Hour, cache.Horizon)
	require.Equal(t, "restart", cache.Mitigations[0].Name)
	require.Len(t, f.Subsystems, 9, "those of the host that are not named stay")

	f.Enabled = false
	_, ok = f.Subsystem("disk")
	require.False(t, ok)
}

// TestChangedSubsystemOfTheHost says of one of the host's another horizon, and of one another series.
func TestChangedSubsystemOfTheHost(t *testing.T) {
	cfg, err := Parse("shivx.yaml", []byte(minimal+`forecast:
  subsystems:
    - {name: cpu, horizon: 2h}
    - {name: memory, series: [{history: used_bytes}], capacity: 1e+9}
    - {name: network, model: exhaustion}
`), testKnown)
	require.NoError(t, err)
	cpu, _ := cfg.Forecast.Subsystem("cpu")
	require.Equal(t, 100*time.Second, cpu.Step, "a 72nd of the horizon that was given")
	require.InDelta(t, 0.95, cpu.Capacity, 0)
	memory, _ := cfg.Forecast.Subsystem("memory")
	require.InDelta(t, 1e9, memory.Capacity, 0)
	require.Equal(t, 6*time.Hour, memory.Horizon)
	network, _ := cfg.Forecast.Subsystem("network")
	require.Equal(t, 6*time.Hour, network.Horizon, "of the model that was given")
	require.Equal(t, 5*time.Minute, network.Step)
}

// TestStepsAreNotShorterThanLooks, unless the horizon asks for it.
func TestStepsAreNotShorterThanLooks(t *testing.T) {
	cfg, err := Parse("shivx.yaml", []byte(minimal+`forecast:
  every: 2m
  subsystems:
    - {name: a, model: exhaustion, horizon: 1h, series: [{path: /srv}]}
    - {name: b, model: exhaustion, horizon: 6m, series: [{path: /srv}]}
`), testKnown)
	require.NoError(t, err)
	a, _ := cfg.Forecast.Subsystem("a")
	require.Equal(t, 2*time.Minute, a.Step)
	b, _ := cfg.Forecast.Subsystem("b")
	require.Equal(t, time.Minute, b.Step)
	memory, _ := cfg.Forecast.Subsystem("memory")
	require.Equal(t, 5*time.Minute, memory.Step)
}

func TestBlackouts(t *testing.T) {
	berlin := func(s string) time.Time {
		at, err := time.ParseInLocation("2006-01-02 15:04", s, must(time.LoadLocation("Europe/Berlin")))
		require.NoError(t, err)
		return at
	}
	office := Blackout{Days: []string{"mon", "fri"}, From: "09:00", To: "17:00", TimeZone: "Europe/Berlin"}
	night := Blackout{From: "22:00", To: "06:00", TimeZone: "Europe/Berlin"}
	weekend := Blackout{Days: []string{"sat", "sun"}, From: "00:00", To: "24:00", TimeZone: "Europe/Berlin"}
	always := Blackout{From: "00:00", To: "24:00", TimeZone: "UTC"}
	for _, c := range []struct {
		name      string
		blackouts []Blackout
		at, want  string
	}{
		{"before", []Blackout{office}, "2026-03-02 08:59", ""},
		{"in it", []Blackout{office}, "2026-03-02 09:00", "2026-03-02 17:00"},
		{"its end", []Blackout{office}, "2026-03-02 17:00", ""},
		{"another day", []Blackout{office}, "2026-03-03 10:00", ""},
		{"before midnight", []Blackout{night}, "2026-03-03 23:00", "2026-03-04 06:00"},
		{"after midnight", []Blackout{night}, "2026-03-04 05:59", "2026-03-04 06:00"},
		{"a night in which the clock goes ahead", []Blackout{night}, "2026-03-28 23:00", "2026-03-29 06:00"},
		{"a day after the other", []Blackout{weekend}, "2026-03-07 10:00", "2026-03-09 00:00"},
		{"one after the other", []Blackout{weekend, night}, "2026-03-06 22:00", "2026-03-09 06:00"},
	} {
		f := Forecast{Blackouts: c.blackouts}
		got := f.BlackoutUntil(berlin(c.at))
		if c.want == "" {
			require.Zero(t, got, c.name)
			continue
		}
		require.Equal(t, berlin(c.want).UTC(), got, c.name)
	}
	at := berlin("2026-03-02 10:00")
	f := Forecast{Blackouts: []Blackout{always}}
	require.WithinDuration(t, at.Add(maxBlackout), f.BlackoutUntil(at), 24*time.Hour, "one without an end ends")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestStepOfMilliseconds is refused: nothing is measured that often, and the history counts in milliseconds.
func TestStepOfMilliseconds(t *testing.T) {
	_, err := Parse("shivx.yaml", []byte("version: 1\nforecast: {subsystems: [{name: disk, step: 100us, horizon: 1ms}]}\n"), Known{})
	require.ErrorContains(t, err, "give a step of 100ms or more")
}
