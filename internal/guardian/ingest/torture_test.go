package ingest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// vandal writes a log and rotates it in every way there is.
type vandal struct {
	t    *testing.T
	rand *rand.Rand
	path string
	// open is what the writer has open; it may be a file that was renamed.
	open  *os.File
	wrote []string
	// half is the beginning of a line that was written without its end.
	half string
	// rotated files stand beside the log; none is deleted, however long the reader is away.
	rotated int
	// did says what was done, for whoever has to find out why a test fails.
	did []string
}

func (v *vandal) say(what string) { v.did = append(v.did, fmt.Sprintf("%06d %s", len(v.wrote), what)) }

func (v *vandal) reopen() {
	v.say("reopen")
	if v.open != nil {
		v.end()
		require.NoError(v.t, v.open.Close())
	}
	f, err := os.OpenFile(v.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(v.t, err)
	v.open = f
}

func (v *vandal) put(s string) {
	_, err := v.open.WriteString(s)
	require.NoError(v.t, err)
}

// lines writes some lines, at times a part of one that the next call ends.
func (v *vandal) lines() {
	v.end()
	for range 1 + v.rand.IntN(40) {
		line := fmt.Sprintf("%06d %s", len(v.wrote), strings.Repeat("x", v.rand.IntN(300)))
		v.wrote = append(v.wrote, line)
		if v.rand.IntN(20) == 0 {
			cut := v.rand.IntN(len(line))
			v.half = line[cut:] + "\n"
			v.put(line[:cut])
			return
		}
		v.put(line + "\n")
	}
}

func (v *vandal) end() {
	v.put(v.half)
	v.half = ""
}

// shift makes room for name.1.
func (v *vandal) shift() string {
	for n := v.rotated; n > 0; n-- {
		require.NoError(v.t, os.Rename(fmt.Sprintf("%s.%d", v.path, n), fmt.Sprintf("%s.%d", v.path, n+1)))
	}
	v.rotated++
	return v.path + ".1"
}

func (v *vandal) rotate() {
	if _, err := os.Stat(v.path); err != nil {
		return
	}
	switch v.rand.IntN(3) {
	case 0: // the writer opens the new file at once
		v.say("rename")
		require.NoError(v.t, os.Rename(v.path, v.shift()))
		v.reopen()
	case 1: // the writer goes on in the old one, which others may have replaced
		v.say("rename, write on")
		require.NoError(v.t, os.Rename(v.path, v.shift()))
		v.lines()
		v.lines()
		v.reopen()
	case 2: // nothing is written between copy and truncation: that loss is copytruncate's own
		v.end()
		if info, err := os.Stat(v.path); err != nil || info.Size() == 0 {
			return
		}
		v.say("copytruncate")
		copytruncate(v.t, v.path, v.shift())
	}
}

// A log is written, rotated and read at the same time, by a reader that is stopped and started: every
// line is read once, whatever the moment.
func TestTorture(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { torture(t, seed) })
	}
}

func torture(t *testing.T, seed uint64) {
	v := &vandal{t: t, rand: rand.New(rand.NewPCG(seed, 4)), path: logFile(t)}
	v.reopen()
	r := newReader(t, config.Log{File: v.path, FromStart: true}).start().opened()
	running := true
	for range 150 {
		switch v.rand.IntN(8) {
		case 0, 1:
			v.rotate()
		case 2:
			if running {
				r.stop()
				v.say(fmt.Sprintf("stopped at %+v", r.at))
			} else {
				v.say("start")
				r.start()
			}
			running = !running
		case 3:
			time.Sleep(time.Duration(v.rand.IntN(4000)) * time.Microsecond)
		default:
			v.lines()
		}
	}
	v.end()
	if !running {
		r.start()
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && r.count() < len(v.wrote); {
		time.Sleep(time.Millisecond)
	}
	r.stop()
	got := slices.Sorted(slices.Values(r.lines))
	if !slices.Equal(v.wrote, got) {
		require.Fail(t, "other lines were read than written", "%s\n%s", differences(v.wrote, got), strings.Join(v.did, "\n"))
	}
	require.Empty(t, r.troubles)
	require.Greater(t, v.rotated, 3)
}

// differences of two sorted lists, the first few.
func differences(want, got []string) string {
	count := map[string]int{}
	for _, l := range want {
		count[l]++
	}
	for _, l := range got {
		count[l]--
	}
	var text []string
	for _, l := range slices.Concat(want, got) {
		if n := count[l]; n != 0 && len(text) < 20 {
			text = append(text, fmt.Sprintf("%+d %.20s", -n, l))
			count[l] = 0
		}
	}
	return strings.Join(text, "\n")
}
