package store

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// answering stands before a server and answers some requests itself.
func answering(t *testing.T, s *s3Server, answer func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	target, err := url.Parse("http://" + s.addr)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	return strings.TrimPrefix(front.URL, "http://")
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
}

func TestS3ServerWithoutConditionalWrites(t *testing.T) {
	s := startS3(t)
	var asked atomic.Int64
	addr := answering(t, s, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-None-Match") == "" {
			return false
		}
		asked.Add(1)
		refuse(w, http.StatusNotImplemented, "NotImplemented")
		return true
	})
	b := openS3(t, s.options(t, addr))
	small, large := noise(1, 1000), noise(2, 2*s3PartSize)
	require.NoError(t, publish(t.Context(), b, "packs/a.pack", small))
	require.NoError(t, publish(t.Context(), b, "packs/b.pack", large))
	require.ErrorIs(t, publish(t.Context(), b, "packs/a.pack", large[:5]), fs.ErrExist)
	require.ErrorIs(t, publish(t.Context(), b, "packs/b.pack", noise(3, 2*s3PartSize)), fs.ErrExist)
	require.True(t, bytes.Equal(small, readObject(t, b, "packs/a.pack")))
	require.True(t, bytes.Equal(large, readObject(t, b, "packs/b.pack")))
	require.EqualValues(t, 1, asked.Load(), "the server is asked once")

	fresh := openS3(t, s.options(t, addr))
	require.NoError(t, publish(t.Context(), fresh, "packs/c.pack", large), "also where a large one is the first")
	require.True(t, bytes.Equal(large, readObject(t, fresh, "packs/c.pack")))
}

func TestS3AnswersSayWhatToDo(t *testing.T) {
	s := startS3(t)
	cases := map[string]struct {
		status int
		hint   string
	}{
		"RequestTimeTooSkewed": {403, "timedatectl"},
		"AccessDenied":         {403, "s3:PutObject"},
		"ExpiredToken":         {400, "session token"},
		"QuotaExceeded":        {403, "no more room"},
		"SlowDown":             {503, "overloaded"},
		"SomethingElse":        {400, "log of the server"},
	}
	for code, c := range cases {
		var no atomic.Bool
		addr := answering(t, s, func(w http.ResponseWriter, r *http.Request) bool {
			if no.Load() {
				refuse(w, c.status, code)
			}
			return no.Load()
		})
		o := s.options(t, addr)
		o.Retry = 300 * time.Millisecond
		b := openS3(t, o)
		no.Store(true)
		for _, size := range []int{10, s3PartSize + 1} {
			err := publish(t.Context(), b, "packs/a.pack", make([]byte, size))
			require.ErrorContains(t, err, code)
			require.Contains(t, shivx.HintOf(err), c.hint)
		}
		no.Store(false)
	}
}

// Another answer than was asked for, and an object that is replaced while it is read, are errors.
func TestS3ObjectIsReplacedWhileItIsRead(t *testing.T) {
	s := startS3(t)
	o := s.options(t, s.addr)
	o.Retry = 200 * time.Millisecond
	b := openS3(t, o)
	require.NoError(t, publish(t.Context(), b, "goldens/a/x.golden", noise(1, 1<<20)))
	object, err := b.Open(t.Context(), "goldens/a/x.golden")
	require.NoError(t, err)
	defer object.Close()
	require.NoError(t, publish(t.Context(), b, "goldens/a/x.golden", noise(2, 1<<20)))
	_, err = object.ReadAt(make([]byte, 100), 0)
	require.ErrorContains(t, err, "PreconditionFailed")
}
