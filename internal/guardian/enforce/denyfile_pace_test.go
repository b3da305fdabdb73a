package enforce

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

// paced is a deny file on a board, with the times of its reloads.
type paced struct {
	*rig
	path  string
	began time.Time
	// mu guards reloads.
	mu      sync.Mutex
	reloads []time.Duration
	// slow is how long a reload takes.
	slow time.Duration
}

func newPaced(t *testing.T) *paced {
	p := &paced{path: filepath.Join(t.TempDir(), "deny"), began: time.Now()}
	d := NewDenyFile(config.DenyFile{Name: "web", Path: p.path, Format: "plain", Reload: &config.Command{}},
		func(context.Context, config.Command) error {
			p.mu.Lock()
			p.reloads = append(p.reloads, time.Since(p.began))
			p.mu.Unlock()
			time.Sleep(p.slow)
			return nil
		})
	p.rig = newRig(t, NewSet(nil), d)
	synctest.Wait()
	return p
}

// since returns the reloads after a moment, in seconds after it.
func (p *paced) since(at time.Time) (seconds []int) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.reloads {
		if d := p.began.Add(r).Sub(at); d >= 0 {
			seconds = append(seconds, int(d.Round(time.Second)/time.Second))
		}
	}
	return seconds
}

func TestDenyFileBacksOffWhileAnAttackLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t)
		defer p.cancel()
		for range 2 {
			time.Sleep(2 * calm)
			began := time.Now()
			for i := range 1300 {
				p.give(put(fmt.Sprintf("10.%d.%d.%d", began.Minute(), i/250, i%250)))
				time.Sleep(100 * time.Millisecond)
			}
			require.Equal(t, []int{0, 1, 3, 7, 15, 31, 61, 91, 121}, p.since(began), "and anew after a quiet time")
		}
	})
}

func TestDenyFileLetsGoAtOnceWhoSomebodyAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t)
		defer p.cancel()
		time.Sleep(2 * calm)
		began := time.Now()
		p.give(put("192.0.2.1", "192.0.2.2"))
		synctest.Wait()
		p.give(Delta{Drop: prefixes("192.0.2.1")})
		time.Sleep(2 * time.Second)
		p.give(Delta{Drop: prefixes("192.0.2.2"), Asked: true})
		require.Equal(t, []int{0, 2}, p.since(began), "and the ended term goes along")
	})
}

func TestDenyFileTakesItsTimeWithEndedTermsAndNoneWithALockdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t)
		defer p.cancel()
		time.Sleep(2 * calm)
		began := time.Now()
		p.give(put("192.0.2.1", "192.0.2.2", "192.0.2.3"))
		synctest.Wait()
		p.give(Delta{Drop: prefixes("192.0.2.1")})
		time.Sleep(10 * time.Second)
		require.Equal(t, []int{0}, p.since(began))
		require.Equal(t, map[string]bool{"deny_file:web": true}, p.Holds(t.Context(), prefixes("192.0.2.3")[0]), "it can be asked meanwhile")
		require.Empty(t, p.Holds(t.Context(), prefixes("192.0.2.1")[0]), "but not for what it was not told yet")
		time.Sleep(30 * time.Second)
		require.Equal(t, []int{0, 30}, p.since(began))

		// Who is to be kept out does not wait behind an ended term, which goes along.
		p.give(Delta{Drop: prefixes("192.0.2.2")})
		time.Sleep(time.Second)
		p.give(put("192.0.2.9"))
		require.Equal(t, []int{0, 30, 41}, p.since(began))
		content, err := os.ReadFile(p.path)
		require.NoError(t, err)
		require.Equal(t, "192.0.2.3\n192.0.2.9\n", string(content))

		// In the middle of an attack, with the pace at its longest.
		for i := range 700 {
			p.give(put(fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
			time.Sleep(100 * time.Millisecond)
		}
		locked := time.Now()
		p.give(put("10.1.1.1"))
		time.Sleep(2 * time.Second)
		require.Empty(t, p.since(locked), "others wait")
		p.give(Delta{Lockdown: &Lockdown{On: true}})
		require.Equal(t, []int{2}, p.since(locked))
		p.give(Delta{Lockdown: &Lockdown{}})
		time.Sleep(2 * time.Second)
		require.Equal(t, []int{2, 3}, p.since(locked), "at most once a second")
	})
}

// TestDenyFileIsInNoHasteForEver: changes come faster than a reload takes, so that some always wait.
func TestDenyFileIsInNoHasteForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t)
		defer p.cancel()
		p.slow = 300 * time.Millisecond
		time.Sleep(2 * calm)
		began := time.Now()
		p.give(Delta{Lockdown: &Lockdown{On: true}})
		time.Sleep(100 * time.Millisecond)
		p.give(Delta{Lockdown: &Lockdown{}})
		for i := range 700 {
			p.give(put(fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
			time.Sleep(100 * time.Millisecond)
		}
		require.Less(t, len(p.since(began)), 10, "a lockdown that is over makes nothing else urgent")
	})
}
