package enforce

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/command"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

func runCommand(ctx context.Context, c config.Command) error {
	_, err := command.Run(ctx, command.Spec{Argv: c.Argv, Dir: c.Dir, Env: c.Env, Timeout: c.Timeout})
	return err
}

func TestDenyFileFormats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deny")
	state := func() State {
		return State{
			Isolations: []shivx.Isolation{
				block("2001:db8:0:1::/64", time.Hour), block("198.51.100.7", 0), block("203.0.113.8/30", 0),
				block("203.0.113.9", 0), block("192.0.2.1", -time.Hour), block("10.0.0.5", 0),
			},
			Allow: prefixes("203.0.113.10", "10.0.0.0/8"),
		}
	}
	for format, want := range map[string]string{
		"plain":   "198.51.100.7\n203.0.113.8/31\n203.0.113.11\n2001:db8:0:1::/64\n",
		"haproxy": denyHead + "198.51.100.7\n203.0.113.8/31\n203.0.113.11\n2001:db8:0:1::/64\n",
		"nginx":   denyHead + "deny 198.51.100.7;\ndeny 203.0.113.8/31;\ndeny 203.0.113.11;\ndeny 2001:db8:0:1::/64;\n",
		"apache":  denyHead + "Require not ip 198.51.100.7\nRequire not ip 203.0.113.8/31\nRequire not ip 203.0.113.11\nRequire not ip 2001:db8:0:1::/64\n",
	} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := NewDenyFile(config.DenyFile{Name: "web", Path: path, Format: format}, nil)
				require.NoError(t, d.Verify(t.Context()), "nothing was given yet")
				require.NoError(t, d.Replace(t.Context(), state()))
				got, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, want, string(got))
				for source, held := range map[string]bool{
					"198.51.100.7": true, "203.0.113.9": true, "203.0.113.10": false, "10.0.0.5": false,
					"2001:db8:0:1::9": true, "2001:db8:0:2::9": false, "192.0.2.1": false,
				} {
					got, err := d.Holds(t.Context(), prefixes(source)[0])
					require.NoError(t, err)
					require.Equal(t, held, got, source)
				}
				on := Lockdown{On: true}
				require.NoError(t, d.Apply(t.Context(), Delta{Lockdown: &on, Drop: prefixes("198.51.100.7")}))
				for source, held := range map[string]bool{
					"9.9.9.9": true, "198.51.100.7": true, "203.0.113.10": false, "10.255.0.5": false, "127.0.0.1": false, "2001::": true,
				} {
					got, err := d.Holds(t.Context(), prefixes(source)[0])
					require.NoError(t, err)
					require.Equal(t, held, got, source)
				}
				on = Lockdown{}
				require.NoError(t, d.Apply(t.Context(), Delta{Lockdown: &on}))
				require.NoError(t, d.Verify(t.Context()))
				got, err = os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, strings.Count(want, "\n")-1, strings.Count(string(got), "\n"))
				require.NoError(t, os.WriteFile(path, append(got, "# mine\n"...), 0o644))
				require.ErrorContains(t, d.Verify(t.Context()), "somebody else")
				require.NoError(t, os.Remove(path))
				require.ErrorContains(t, d.Verify(t.Context()), "somebody else")
				held, err := d.Holds(t.Context(), prefixes("203.0.113.9")[0])
				require.NoError(t, err)
				require.False(t, held)
			})
		})
	}
}

func TestDenyFileReloadsMoreRarelyAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "deny")
		var reloads []time.Time
		var failure error
		var last string
		d := NewDenyFile(config.DenyFile{Name: "web", Path: path, Format: "plain", Reload: &config.Command{}},
			func(ctx context.Context, _ config.Command) error {
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				reloads, last = append(reloads, time.Now()), string(content)
				return errors.Join(failure, ctx.Err())
			})
		state := NewSet(nil)
		r := newRig(t, state, d)
		defer r.cancel()
		for i := range 100 {
			r.give(put(fmt.Sprintf("192.0.2.%d", i)))
			time.Sleep(50 * time.Millisecond)
		}
		require.NoError(t, r.Settled(t.Context()))
		synctest.Wait()
		require.LessOrEqual(t, len(reloads), 4)
		for i := 1; i < len(reloads); i++ {
			require.GreaterOrEqual(t, reloads[i].Sub(reloads[i-1]), time.Second)
		}
		require.Equal(t, 100, strings.Count(last, "\n"), "the last change is reloaded too")
		require.Equal(t, 100, r.Status()[0].Entries)

		// A reload that fails is tried again although the file is right.
		failure = errors.New("syntax error in line 7")
		n := len(reloads)
		r.give(Delta{Drop: prefixes("192.0.2.0")})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.ErrorContains(t, errors.New(r.Status()[0].Error), "syntax error in line 7")
		require.Greater(t, len(reloads), n+1)
		failure = nil
		require.NoError(t, r.Settled(t.Context()))
		synctest.Wait()

		// Nothing is done for a change that changes nothing.
		time.Sleep(time.Minute)
		n = len(reloads)
		r.give(Delta{Drop: prefixes("203.0.113.1")})
		require.NoError(t, r.Settled(t.Context()))
		synctest.Wait()
		require.Len(t, reloads, n)

		// The agent ends while a change waits: it is written and reloaded all the same.
		r.give(put("198.51.100.1"))
		require.NoError(t, r.Settled(t.Context()))
		synctest.Wait()
		r.give(put("198.51.100.2"))
		synctest.Wait()
		r.cancel()
		synctest.Wait()
		require.Contains(t, last, "198.51.100.2")
	})
}

func TestDenyFileKeepsModeOwnerAndLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "deny"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chmod(path, 0o604))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(path, 1234, 2345))
	}
	require.NoError(t, os.Symlink("deny", link))
	d := NewDenyFile(config.DenyFile{Name: "x", Path: link, Format: "plain"}, nil)
	require.NoError(t, d.Replace(t.Context(), State{Isolations: put("192.0.2.1").Put}))
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o604), info.Mode())
	if os.Geteuid() == 0 {
		owner := info.Sys().(*syscall.Stat_t)
		require.Equal(t, []uint32{1234, 2345}, []uint32{owner.Uid, owner.Gid})
	}
	target, err := os.Readlink(link)
	require.NoError(t, err)
	require.Equal(t, "deny", target)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "192.0.2.1\n", string(content))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2, "no temporary file stays")

	d = NewDenyFile(config.DenyFile{Name: "x", Path: filepath.Join(dir, "no", "deny"), Format: "plain"}, nil)
	err = d.Replace(t.Context(), State{})
	require.Error(t, err)
	require.Contains(t, shivx.HintOf(err), "make the folder")
}

func TestDenyFileTellsWhatTheCommandSaid(t *testing.T) {
	sh := testenv.Need(t, "sh")[0]
	d := NewDenyFile(config.DenyFile{
		Name: "x", Path: filepath.Join(t.TempDir(), "deny"), Format: "plain",
		Reload: &config.Command{Argv: []string{sh, "-c", "echo no such server >&2; exit 3"}},
	}, runCommand)
	require.ErrorContains(t, d.Replace(t.Context(), State{}), "no such server")
}

// TestDenyFileOfNginx lets a real nginx deny, and let go again.
func TestDenyFileOfNginx(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deny.conf")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755))
	n := testenv.Nginx(t, "include "+path+";", "set_real_ip_from 127.0.0.1;")
	kill := testenv.Need(t, "kill")[0]
	d := NewDenyFile(config.DenyFile{
		Name: "nginx", Path: path, Format: "nginx",
		Reload: &config.Command{Argv: []string{kill, "-HUP", fmt.Sprint(n.PID())}},
	}, runCommand)
	status := func(source string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Addr+"/", nil)
		require.NoError(t, err)
		req.Header.Set("X-Real-IP", source)
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		return resp.StatusCode
	}
	becomes := func(source string, want int) {
		t.Helper()
		require.Eventually(t, func() bool { return status(source) == want }, 10*time.Second, 20*time.Millisecond, source)
	}
	require.NoError(t, d.Replace(t.Context(), State{
		Isolations: put("203.0.113.0/24", "2001:db8:0:1::/64").Put, Allow: prefixes("203.0.113.7"),
	}))
	becomes("203.0.113.8", http.StatusForbidden)
	becomes("2001:db8:0:1::5", http.StatusForbidden)
	require.Equal(t, http.StatusOK, status("203.0.113.7"))
	require.Equal(t, http.StatusOK, status("198.51.100.1"))
	on := Lockdown{On: true}
	require.NoError(t, d.Apply(t.Context(), Delta{Lockdown: &on}))
	becomes("198.51.100.1", http.StatusForbidden)
	require.Equal(t, http.StatusOK, status("203.0.113.7"))
	on = Lockdown{}
	require.NoError(t, d.Apply(t.Context(), Delta{Lockdown: &on, Drop: prefixes("203.0.113.0/24")}))
	becomes("203.0.113.8", http.StatusOK)
}
