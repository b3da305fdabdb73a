package resilience

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/vitals"
)

// scoredHost feeds samples through a Scorer and a Machine.
type scoredHost struct {
	t       *testing.T
	scorer  *Scorer
	machine *Machine
	at      time.Duration
}

func newScoredHost(t *testing.T) *scoredHost {
	return &scoredHost{t: t, scorer: NewScorer(defaultScore()), machine: NewMachine(defaultLevels(), 0.5, shivx.LevelNormal)}
}

// during gives the host the same readings beside idle ones for some time and returns the last score.
func (h *scoredHost) during(d time.Duration, modules []Module, readings ...vitals.Reading) Score {
	var score Score
	for end := h.at + d; h.at < end; {
		h.at += 5 * time.Second
		score = h.scorer.Score(sampleOf(h.at, append(idle(), readings...)...), modules)
		checkScore(h.t, score)
		h.machine.Observe(h.at, score)
	}
	return score
}

// TestDiskThatIsLostIsNotWell: a full disk whose reading gets lost holds the level for as long as it
// is listed as missing, and however long that is.
func TestDiskThatIsLostIsNotWell(t *testing.T) {
	h := newScoredHost(t)
	full := mount(vitals.Disk, "/var", 100)
	full.Detail = "95.0 of 95.0 GiB"
	lost := vitals.Reading{Resource: vitals.Disk, Subject: "/var", Missing: "no longer mounted"}
	h.during(time.Minute, nil, full)
	assert.Equal(t, shivx.LevelEmergency, h.machine.Level())

	score := h.during(24*time.Hour, nil, lost)
	assert.InDelta(t, 100, score.Value, 0, "it takes no points: that nothing is known is no reason to fall")
	assert.Equal(t, shivx.LevelEmergency, h.machine.Level())
	assert.Equal(t, "disk[/var] is missing: with what was last known of it (100.0 %, 95.0 of 95.0 GiB) the score is 0.0, rises to LEVEL_3 from 33 on", h.machine.Held())

	h.during(time.Minute, nil)
	assert.Equal(t, shivx.LevelEmergency, h.machine.Level(), "the wait begins once it is not listed any more")
	h.during(5*time.Minute, nil)
	assert.Equal(t, shivx.LevelNormal, h.machine.Level())
	assert.Empty(t, h.machine.Held())
}

// TestLostTermHoldsOnlyAsFarAsItWasBad: it counts for a rise as if it were still what it was.
func TestLostTermHoldsOnlyAsFarAsItWasBad(t *testing.T) {
	h := newScoredHost(t)
	disk := func(missing string, percent float64) vitals.Reading {
		return vitals.Reading{Resource: vitals.Disk, Subject: "/var", Percent: percent, Missing: missing}
	}
	h.during(time.Minute, nil, disk("", 95), mount(vitals.Disk, "/full", 100)) // 60 points, and none
	h.during(time.Hour, nil, disk("statfs: no such device", 0), mount(vitals.Disk, "/full", 10))
	assert.Equal(t, shivx.Level2, h.machine.Level(), "53 are needed for that, 68 for the next")
	h.during(time.Hour, nil, disk("", 10), mount(vitals.Disk, "/full", 10))
	assert.Equal(t, shivx.LevelNormal, h.machine.Level())

	h.during(time.Minute, nil, disk("", 85), mount(vitals.Disk, "/full", 100)) // 92.5 points, and none
	h.during(time.Hour, nil, disk("statfs: no such device", 0))
	assert.Equal(t, shivx.LevelNormal, h.machine.Level(), "it never was in the way")
}

// TestLostTermsAddUp, with one another and with those that are there, modules too.
func TestLostTermsAddUp(t *testing.T) {
	h := newScoredHost(t)
	failing, unknown := []Module{{Name: "db", Critical: true, State: "failing"}}, []Module{{Name: "db", Critical: true, State: "unknown"}}
	missing := vitals.Reading{Resource: vitals.Disk, Subject: "/var", Missing: "x"}
	h.during(time.Minute, failing, mount(vitals.Disk, "/var", 95))
	assert.Equal(t, shivx.Level2, h.machine.Level(), "(40⁴ + 40⁴)^¼ = 47.6")
	h.during(time.Minute, failing, mount(vitals.Disk, "/var", 97))
	assert.Equal(t, shivx.Level3, h.machine.Level(), "(40⁴ + 63.3⁴)^¼ = 65.7")
	h.during(time.Minute, failing, mount(vitals.Disk, "/var", 95))
	h.during(time.Hour, unknown, missing)
	assert.Equal(t, shivx.Level3, h.machine.Level(), "either alone would let it rise to LEVEL_2, but 52.4 is less than 53")
	h.during(time.Hour, unknown, mount(vitals.Disk, "/var", 95))
	assert.Equal(t, shivx.Level3, h.machine.Level(), "one is back as it was")
	h.during(time.Hour, unknown, mount(vitals.Disk, "/var", 10))
	assert.Equal(t, shivx.Level2, h.machine.Level())
	h.during(time.Hour, []Module{{Name: "db", Critical: true, State: "healthy", Score: 100}})
	assert.Equal(t, shivx.LevelNormal, h.machine.Level())
}
