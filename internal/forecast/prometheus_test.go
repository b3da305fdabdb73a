package forecast

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/testenv"
)

// queried is a subsystem with a query.
func queried(query string, limit float64) config.Subsystem {
	s := sharesOf("sessions", "")
	s.Series = []config.SubsystemSeries{{PromQL: query, Limit: limit}}
	return s
}

// TestPrometheus asks a real server: a past of two days at once, then what is new, and a server that is away meanwhile.
func TestPrometheus(t *testing.T) {
	full := begin.Add(46 * time.Hour)
	var b strings.Builder
	b.WriteString("# TYPE sessions gauge\n")
	wobble, end := noise(4), begin.Add(47*time.Hour)
	for at := begin; at.Before(end); at = at.Add(time.Minute) {
		grown := max(0, at.Sub(begin.Add(24*time.Hour)).Hours()) * 650 / 22
		fmt.Fprintf(&b, "sessions{shop=\"berlin\"} %.3f %d\n", min(1000, 300+grown+4*wobble()), at.Unix())
	}
	for at := begin; at.Before(end); at = at.Add(time.Minute) {
		fmt.Fprintf(&b, "sessions{shop=\"rome\"} %.3f %d\n", 200+4*wobble(), at.Unix())
	}
	b.WriteString("# EOF\n")
	server := testenv.Prometheus(t, b.String())

	s := newStand(t)
	s.o.Rules.Prometheus = &config.ForecastServer{URL: "http://" + server.Addr, Timeout: 10 * time.Second}
	s.o.Rules.Subsystems = []config.Subsystem{queried("sessions", 1000), queried("max(sessions)", 1000), queried("sessions[5m]", 1000)}
	s.o.Rules.Subsystems[1].Name, s.o.Rules.Subsystems[2].Name = "most", "wrong"
	s.start()
	s.now = full.Add(-4 * time.Hour)
	s.look()
	require.Len(t, s.engine.subsystems[0].series, 2)
	p := s.prediction("sessions")
	require.Equal(t, `sessions{shop="berlin"}`, p.Series)
	require.InDelta(t, 0.83, p.Value, 0.02)
	require.Greater(t, p.Probability, 0.5)
	require.WithinDuration(t, full, p.BreachAt, 2*time.Hour)
	require.Equal(t, "max(sessions)", s.prediction("most").Series)
	wrong := s.engine.Heatmap().Risks[2]
	require.Contains(t, wrong.Missing, "the query is refused")

	server.Stop(t)
	s.now = full.Add(-3 * time.Hour)
	s.look()
	away := s.engine.Heatmap().Risks[0]
	require.Contains(t, away.Missing, "does not answer")
	server.Start(t)
	s.look()
	require.Equal(t, shivx.RiskRed, s.engine.Heatmap().Risks[0].Color)
	require.InDelta(t, 0.86, s.prediction("sessions").Value, 0.02)

	tracks, err := s.engine.Tracks(t.Context(), "sessions", 12*time.Hour)
	require.NoError(t, err)
	require.Equal(t, p.Series, tracks[0].Prediction.Series)
	require.InDelta(t, 12*12, len(tracks[0].Past), 2)
	require.InDelta(t, 0.86, tracks[0].Past[len(tracks[0].Past)-1].Value, 0.02)
	require.Len(t, tracks[0].Ahead, bands)
}

// TestPrometheusToken sends the token, and says when it is refused.
func TestPrometheusToken(t *testing.T) {
	var got string
	refuse := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got = r.Header.Get("Authorization"); refuse {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"matrix","result":[]}}`))
	}))
	defer server.Close()
	s := newStand(t)
	token := t.TempDir() + "/token"
	testenv.WriteFile(t, token, "letters\n")
	s.o.Rules.Prometheus = &config.ForecastServer{URL: server.URL, Token: "file:" + token, Timeout: time.Second}
	s.o.Rules.Subsystems = []config.Subsystem{queried("up", 0)}
	s.start()
	s.look()
	require.Equal(t, "Bearer letters", got)
	require.Contains(t, s.engine.Heatmap().Risks[0].Missing, "check its url and token")
	refuse = false
	s.look()
	require.Equal(t, unmeasured, s.engine.Heatmap().Risks[0].Missing)
}

// TestPrometheusHangs: one look waits for it once, however many queries there are.
func TestPrometheusHangs(t *testing.T) {
	asked := atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the end of the request is not seen
		asked.Add(1)
		<-r.Context().Done()
	}))
	defer server.Close()
	s := newStand(t)
	s.o.Rules.Prometheus = &config.ForecastServer{URL: server.URL, Timeout: 50 * time.Millisecond}
	for i := range 5 {
		one := queried("up", 0)
		one.Name = fmt.Sprint("s", i)
		s.o.Rules.Subsystems = append(s.o.Rules.Subsystems, one)
	}
	s.start()
	s.look()
	require.EqualValues(t, 1, asked.Load())
	for _, r := range s.engine.Heatmap().Risks {
		require.Contains(t, r.Missing, "does not answer")
	}
	s.look()
	require.EqualValues(t, 2, asked.Load(), "the next look asks again")
}

func TestPrometheusCA(t *testing.T) {
	_, err := newPromServer(config.ForecastServer{URL: "https://localhost", CA: t.TempDir() + "/none.pem"})
	require.ErrorContains(t, err, "read forecast.prometheus.ca")
	path := t.TempDir() + "/empty.pem"
	testenv.WriteFile(t, path, "no certificate\n")
	_, err = newPromServer(config.ForecastServer{URL: "https://localhost", CA: path})
	require.ErrorContains(t, err, "has no certificate")
}

// TestPrometheusRedirects: the token goes to no other server.
func TestPrometheusRedirects(t *testing.T) {
	got := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") }))
	defer other.Close()
	first := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first = r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	token := t.TempDir() + "/token"
	testenv.WriteFile(t, token, "letters\n")
	_, err := QueryRange(t.Context(), config.ForecastServer{URL: server.URL, Token: "file:" + token, Timeout: 5 * time.Second}, "up", begin, begin, time.Minute)
	require.Error(t, err)
	require.Empty(t, <-got)
	require.Equal(t, "Bearer letters", first)
}

// TestPrometheusAnswersTooMuch: the memory of the host is not for one query.
func TestPrometheusAnswersTooMuch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1000))
	}))
	defer server.Close()
	client, err := api.NewClient(api.Config{Address: server.URL, RoundTripper: &bearer{most: 100, next: http.DefaultTransport}})
	require.NoError(t, err)
	p := promSource{server: &promServer{api: prometheus.NewAPI(client), timeout: 5 * time.Second}, query: "up"}
	_, err = p.read(t.Context(), begin, begin, time.Minute)
	require.ErrorContains(t, err, "the query \"up\" gives more than")
}
