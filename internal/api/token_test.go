package api

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// asAdmin sends a request only the administrator's token allows and returns the status.
func (s *stand) asAdmin(token string) int {
	s.t.Helper()
	return s.do("POST", "/api/resilience/override", token, `{"level":"LEVEL_2","for":"30m","why":"test","by":"another"}`).Code
}

func TestTokenIsMadePrivateWhateverTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o777} {
		before := syscall.Umask(mask)
		dir := t.TempDir()
		_, err := Token(dir)
		syscall.Umask(before)
		require.NoError(t, err)
		info, err := os.Stat(filepath.Join(dir, TokenFile))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
}

// TestADamagedTokenFileChangesNothing: the token in force stays until there is another good one.
func TestADamagedTokenFileChangesNothing(t *testing.T) {
	const other = "another-token-of-the-administrator"
	for name, damage := range map[string]func(file string) error{
		"too short":      func(file string) error { return os.WriteFile(file, []byte("short\n"), 0o600) },
		"empty":          func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"world-readable": func(file string) error { return os.Chmod(file, 0o644) },
		"group-readable": func(file string) error { return os.Chmod(file, 0o640) },
		"gone":           os.Remove,
		"a folder": func(file string) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return os.Mkdir(file, 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			file := filepath.Join(s.cfg.Paths.Var, TokenFile)
			require.NoError(t, damage(file))
			before, _ := os.ReadFile(file)
			s.access.reload()
			s.access.reload()
			require.Equal(t, 200, s.asAdmin(s.admin))
			require.Equal(t, 1, strings.Count(s.log.String(), "token=admin "), "told once: %s", s.log)
			require.NotEmpty(t, s.LoginLink())
			require.Equal(t, 200, s.do("GET", "/api/components", viewerToken, "").Code, "the others hold as well")
			after, _ := os.ReadFile(file)
			require.Equal(t, before, after, "nothing is written")

			require.NoError(t, os.RemoveAll(file))
			require.NoError(t, os.WriteFile(file, []byte(other+"\n"), 0o600))
			s.access.reload()
			require.Equal(t, 401, s.asAdmin(s.admin))
			require.Equal(t, 200, s.asAdmin(other))
		})
	}
}

// TestABadTokenFileAtStart: without an administrator the agent goes on, and the others may ask it.
func TestABadTokenFileAtStart(t *testing.T) {
	for name, mode := range map[string]os.FileMode{"short": 0o600, "long-enough-but-for-everybody": 0o644} {
		s := newStand(t)
		dir := t.TempDir()
		file := filepath.Join(dir, TokenFile)
		require.NoError(t, os.WriteFile(file, []byte(name), mode))
		s.serverAt(t, dir)
		require.Equal(t, 401, s.asAdmin(name))
		require.Equal(t, 200, s.do("GET", "/api/components", viewerToken, "").Code)
		require.Empty(t, s.LoginLink())
		require.Contains(t, s.log.String(), "token=admin ")
		kept, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, name, string(kept))

		require.NoError(t, os.WriteFile(file, []byte("the-shortest-one"), mode))
		require.NoError(t, os.Chmod(file, 0o600))
		s.access.reload()
		require.Equal(t, 200, s.asAdmin("the-shortest-one"), "16 characters are enough, as for the others")
	}
}
