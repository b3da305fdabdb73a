package resp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wire answers with what it holds and keeps what it is sent.
type wire struct {
	io.Reader
	sent bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) { return w.sent.Write(p) }

func TestCall(t *testing.T) {
	w := &wire{Reader: strings.NewReader("+OK\r\n:12\r\n$5\r\na\r\nbc\r\n$-1\r\n-NOAUTH no\r\n")}
	c := New(w)
	for _, want := range []string{"OK", "12", "a\r\nbc", ""} {
		got, err := c.Call("SET", "k", "v w")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.True(t, strings.HasPrefix(w.sent.String(), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nv w\r\n"))
	_, err := c.Call("PING")
	require.Equal(t, Error("NOAUTH no"), err)
	answer, ok := errors.AsType[Error](err)
	require.True(t, ok)
	require.Equal(t, "NOAUTH", answer.Code())
	_, err = c.Call("PING")
	require.ErrorContains(t, err, "closed the connection instead of answering PING")
}

func TestList(t *testing.T) {
	c := New(&wire{Reader: strings.NewReader("*2\r\n$3\r\ndir\r\n$1\r\n/\r\n*0\r\n-ERR x\r\n+OK\r\n*9999\r\n")})
	got, err := c.List("CONFIG", "GET", "dir")
	require.NoError(t, err)
	require.Equal(t, []string{"dir", "/"}, got)
	got, err = c.List("KEYS")
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = c.List("X")
	require.Equal(t, Error("ERR x"), err)
	_, err = c.List("X")
	require.ErrorContains(t, err, "no list")
	_, err = c.List("X")
	require.ErrorContains(t, err, "length")
}

func TestStrangersAreRefused(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 400 Bad Request\r\n", "\r\n", "x\n", strings.Repeat("y", 10<<10), "$99999999\r\n", "$x\r\n",
		"$2\r\nabcd", "$4\r\nab", "*2\r\n$1\r\na\r\n", "",
	} {
		_, err := New(&wire{Reader: strings.NewReader(answer)}).Call("PING")
		require.Error(t, err, answer)
		_, err = New(&wire{Reader: strings.NewReader(answer)}).List("PING")
		require.Error(t, err, answer)
	}
}
