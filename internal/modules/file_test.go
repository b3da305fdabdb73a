package modules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

func TestDamagedFileIsSetAside(t *testing.T) {
	for name, data := range map[string]string{
		"no JSON": "\x00\x00", "empty": "", "cut": `{"version":1,"modules":[{"name":"a"`, "another version": `{"version":2}`,
		"two documents": `{"version":1} {"version":1}`, "of another kind": `[1,2]`,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := settings(t.TempDir())
			require.NoError(t, os.MkdirAll(filepath.Dir(Path(cfg.Paths.Var)), 0o750))
			require.NoError(t, os.WriteFile(Path(cfg.Paths.Var), []byte(data), 0o600))
			s, _ := open(t, cfg)
			require.Empty(t, s.Registrations())
			aside, err := filepath.Glob(Path(cfg.Paths.Var) + ".damaged-*")
			require.NoError(t, err)
			require.Len(t, aside, 1)
			kept, err := os.ReadFile(aside[0])
			require.NoError(t, err)
			require.Equal(t, data, string(kept))
			require.Contains(t, s.log.String(), aside[0])
			require.NoError(t, s.Register(t.Context(), "worker", false, 0), "the agent works on")
		})
	}
}

// TestKeptRegistrationsAreCheckedAgain: the configuration may have changed meanwhile, and the file, too.
func TestKeptRegistrationsAreCheckedAgain(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Resilience.Modules = config.ModuleRules{MaxRegistered: 2, MaxLease: time.Minute}
	var f file
	f.Version = 1
	for i, name := range []string{"later", "silent", "Bad", "first", "second", "first"} {
		f.Modules = append(f.Modules, Registration{Name: name, Lease: shivx.Duration(time.Hour), Since: time.Unix(int64(100-10*i), 0).UTC()})
	}
	data, err := json.Marshal(f)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(Path(cfg.Paths.Var)), 0o750))
	require.NoError(t, os.WriteFile(Path(cfg.Paths.Var), data, 0o600))
	s, stop := open(t, cfg)
	var names []string
	for _, m := range s.Registrations() {
		names = append(names, m.Name)
		require.Equal(t, shivx.Duration(time.Minute), m.Lease, "no lease is longer than may be")
	}
	require.Equal(t, []string{"first", "second"}, names)
	require.Len(t, s.events, 4)
	for _, e := range s.events {
		require.True(t, strings.HasPrefix(e, "module_removed "), e)
	}
	stop()
	s, _ = open(t, cfg)
	require.Len(t, s.Registrations(), 2)
	require.Empty(t, s.events, "what was dropped is dropped once")
}

// TestWhatCannotBeKeptIsNotRegistered: a program that was told yes is watched after a restart as well.
func TestWhatCannotBeKeptIsNotRegistered(t *testing.T) {
	cfg := settings(t.TempDir())
	s, _ := open(t, cfg)
	require.NoError(t, s.Register(t.Context(), "old", false, time.Minute))
	path := s.path
	s.path = filepath.Join(path, "below a file")
	require.Error(t, s.Register(t.Context(), "new", false, time.Minute))
	require.Error(t, s.Register(t.Context(), "old", true, time.Hour))
	require.Error(t, s.Remove(t.Context(), "old"))
	require.Equal(t, []string{"old"}, watched(s))
	s.path = path
	require.Len(t, s.Registrations(), 1)
	require.False(t, s.Registrations()[0].Critical)
	require.Len(t, s.events, 1)
	require.ErrorIs(t, s.Heartbeat(t.Context(), "new", ""), ErrUnknown)
	require.NoError(t, s.Heartbeat(t.Context(), "old", ""))
}

// watched lists the registered programs that the monitor has.
func watched(s *stand) (names []string) {
	for _, c := range s.monitor.Status() {
		if _, configured := s.cfg.Component(c.Component); !configured {
			names = append(names, c.Component)
		}
	}
	return names
}
