package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/testenv"
)

// nobody is an account that owns nothing here.
const nobody = 65534

func TestListenersOfThisMachine(t *testing.T) {
	for network, address := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "tcp": ":0"} {
		l, err := net.Listen(network, address)
		require.NoError(t, err)
		_, port, err := net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
		called := netip.MustParseAddrPort(net.JoinHostPort(map[bool]string{true: "::1", false: "127.0.0.1"}[network == "tcp6"], port))
		uids, err := listenersOn("/proc", called)
		require.NoError(t, err)
		require.Equal(t, []uint32{uint32(os.Getuid())}, uids, address)
		require.NoError(t, l.Close())
		uids, err = listenersOn("/proc", called)
		require.NoError(t, err)
		require.Empty(t, uids, "nobody listens any more")
	}
	_, err := listenersOn(t.TempDir(), netip.MustParseAddrPort("127.0.0.1:1"))
	require.Error(t, err)
}

func TestWhoMayListen(t *testing.T) {
	proc := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(proc, "self/net"), 0o750))
	const titles = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9470} // 0x24FE
	for _, c := range []struct {
		name, tcp, tcp6 string
		wrong           string
	}{
		{"the owner", line("0100007F:24FE", "0A", "1000"), "", ""},
		{"root", line("00000000:24FE", "0A", "0"), "", ""},
		{"both families", "", line("00000000000000000000000000000000:24FE", "0A", "0"), ""},
		{"another", line("0100007F:24FE", "0A", "65534"), "", " listens there"},
		{"another on all addresses", line("00000000:24FE", "0A", "65534"), "", " listens there"},
		{"another beside root", line("0100007F:24FE", "0A", "65534") + line("00000000:24FE", "0A", "0"), "", " listens there"},
		{"another, mapped", "", line("0000000000000000FFFF00000100007F:24FE", "0A", "65534"), " listens there"},
		{"nobody", "", "", "does not say who"},
		{"connected only", line("0100007F:24FE", "01", "0"), "", "does not say who"},
		{"another port and address", line("0100007F:24FF", "0A", "0") + line("0200007F:24FE", "0A", "0"), "", "does not say who"},
		{"nonsense", "x\n" + line("0100007F", "0A", "0") + line("XX:24FE", "0A", "0") + line("0100007F:24FE", "0A", "-1"), "", "does not say who"},
	} {
		testenv.WriteFile(t, filepath.Join(proc, "self/net/tcp"), titles+c.tcp)
		testenv.WriteFile(t, filepath.Join(proc, "self/net/tcp6"), titles+c.tcp6)
		err := checkListener(proc, at, 1000)
		if c.wrong == "" {
			require.NoError(t, err, c.name)
			continue
		}
		require.ErrorContains(t, err, c.wrong, c.name)
	}
	require.NoError(t, os.Remove(filepath.Join(proc, "self/net/tcp6")))
	testenv.WriteFile(t, filepath.Join(proc, "self/net/tcp"), titles+line("0100007F:24FE", "0A", "0"))
	assert.NoError(t, checkListener(proc, at, 1000), "IPv6 is off")
}

func line(local, state, uid string) string {
	return "   0: " + local + " 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000  " + uid + "        0 1065 1 0 100 0 0 10 0\n"
}

// TestAStrangerGetsNoToken: another account has taken the port of the agent.
func TestAStrangerGetsNoToken(t *testing.T) {
	if os.Getuid() != 0 {
		testenv.Missing(t, "only root can start a program as another account")
	}
	stranger := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"stranger"}, Stderr: os.Stderr}
	stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	stranger.Dir = "/"
	out, err := stranger.StdoutPipe()
	require.NoError(t, err)
	stdin, err := stranger.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, stranger.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	at := lines.Text()

	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("var", 0o750))
	testenv.WriteFile(t, filepath.Join("var", "api.token"), rightToken+"\n")
	t.Setenv("SHIVX_CONFIG", "")
	t.Setenv("SHIVX_TOKEN", "")
	want(t, exitRefused, []string{"the agent's token is not sent to " + at, "listens there, and the token is root's", "ss -ltnp"}, "metrics", "--agent", at)

	t.Setenv("SHIVX_TOKEN", "a-token-given-on-purpose")
	shivxRun("metrics", "--agent", at)
	require.True(t, lines.Scan())
	require.Equal(t, "Bearer a-token-given-on-purpose", lines.Text(), "the first request that came has the token that was given")
	require.NoError(t, stdin.Close())
	require.NoError(t, stranger.Wait())
}

// stranger is a program that prints where it listens and each token it gets, until its input ends.
func stranger() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Println(r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusTeapot)
		}))
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestATokenGoesToAServerOfItsOwner: the same with a listener that may have it.
func TestATokenGoesToAServerOfItsOwner(t *testing.T) {
	got := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") }))
	defer s.Close()
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("var", 0o750))
	testenv.WriteFile(t, filepath.Join("var", "api.token"), rightToken+"\n")
	t.Setenv("SHIVX_CONFIG", "")
	t.Setenv("SHIVX_TOKEN", "")
	c, err := (&app{agentAt: strings.TrimPrefix(s.URL, "http://")}).agent()
	require.NoError(t, err)
	require.NoError(t, c.get(context.Background(), "/", nil))
	require.Equal(t, "Bearer "+rightToken, <-got)
	require.EqualValues(t, os.Getuid(), *c.owner)
}
