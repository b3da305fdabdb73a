package notify

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
)

func TestSendReachesPeopleInEveryWay(t *testing.T) {
	got := make(chan string, 1)
	good := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
	}))
	defer good.Close()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer bad.Close()
	file := filepath.Join(t.TempDir(), "page")
	t.Setenv("PAGER_URL", good.URL)

	var log strings.Builder
	s := New([]config.Notify{
		{Name: "pager", URL: "env:PAGER_URL"},
		{Name: "broken", URL: bad.URL + "/secret-token"},
		{Name: "unset", URL: "env:NO_SUCH_VARIABLE"},
		{Name: "script", Command: &config.Command{Argv: []string{"tee", file}, Timeout: 5 * time.Second}},
		{Name: "failing script", Command: &config.Command{Argv: []string{"false"}, Timeout: 5 * time.Second}},
	}, slog.New(slog.NewTextHandler(&log, nil)))
	told, failed := s.Send(t.Context(), map[string]string{"message": "help"})
	require.Equal(t, []string{"pager", "script"}, told)
	require.Equal(t, []string{"broken", "unset", "failing script"}, failed)

	var m map[string]string
	require.NoError(t, json.Unmarshal([]byte(<-got), &m))
	require.Equal(t, "help", m["message"])
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	require.JSONEq(t, `{"message":"help"}`, string(page))
	require.NotContains(t, log.String(), "secret-token", "a URL may hold a secret")
}

func TestSendIsNotHeldUpForEver(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(release)
	s := New([]config.Notify{{Name: "slow", URL: slow.URL}}, slog.New(slog.DiscardHandler))
	s.client.Timeout = 50 * time.Millisecond
	_, failed := s.Send(t.Context(), "x")
	require.Equal(t, []string{"slow"}, failed)
}
