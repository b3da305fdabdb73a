package history

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ask sends a request to the routes of h and writes what they answer, as the agent does.
func ask(t *testing.T, h *History, target string) (body []byte, status int, err error) {
	t.Helper()
	u, err := url.Parse(target)
	require.NoError(t, err)
	answer, status, err := Routes(h)["GET "+u.Path](httptest.NewRequest(http.MethodGet, target, nil))
	if err != nil {
		return nil, status, err
	}
	body, err = json.Marshal(answer)
	require.NoError(t, err)
	return body, status, nil
}

// reply is an Answer as its reader sees it.
type reply struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Step   float64   `json:"step_seconds"`
	Series []struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
		Points [][5]float64      `json:"points"`
	} `json:"series"`
}

func answered(t *testing.T, h *History, target string) reply {
	t.Helper()
	body, status, err := ask(t, h, target)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	var r reply
	require.NoError(t, json.Unmarshal(body, &r))
	return r
}

func TestRoutesAnswer(t *testing.T) {
	c := &ticking{at: start.Add(10 * time.Minute)}
	h := open(t, t.TempDir(), Options{now: c.now})
	body, _, err := ask(t, h, "/api/metrics/names")
	require.NoError(t, err)
	assert.JSONEq(t, `{"names":[]}`, string(body))
	assert.NotNil(t, answered(t, h, "/api/metrics/query").Series)
	fill(t, h, start, 120, 5*time.Second)

	body, _, err = ask(t, h, "/api/metrics/names")
	require.NoError(t, err)
	assert.JSONEq(t, `{"names":["shivx_host_disk_used_ratio","shivx_host_load_1m"]}`, string(body))
	r := answered(t, h, "/api/metrics/query?name=shivx_host_load_1m&step=1m&since=5m")
	require.Len(t, r.Series, 1)
	require.Len(t, r.Series[0].Points, 5)
	assert.Equal(t, [5]float64{float64(start.Add(5 * time.Minute).Unix()), 65.5, 60, 71, 71}, r.Series[0].Points[0])
	assert.Equal(t, 60, int(r.Step))
	assert.True(t, r.From.Equal(start.Add(5*time.Minute)))
	assert.True(t, r.To.Equal(c.at))

	r = answered(t, h, "/api/metrics/query?match="+url.QueryEscape("mountpoint=/var"))
	require.Len(t, r.Series, 1)
	assert.Equal(t, map[string]string{"mountpoint": "/var"}, r.Series[0].Labels)
	assert.Len(t, r.Series[0].Points, 120)
	times := fmt.Sprintf("from=%s&to=%d", url.QueryEscape(start.Add(time.Minute).Format(time.RFC3339)), start.Add(2*time.Minute).Unix())
	r = answered(t, h, "/api/metrics/query?name=shivx_host_load_1m&step=30&"+times)
	assert.Len(t, r.Series[0].Points, 3)
	r = answered(t, h, fmt.Sprintf("/api/metrics/query?name=shivx_host_load_1m&to=%d", start.Add(time.Minute).Unix()))
	assert.Len(t, r.Series[0].Points, 13)
}

func TestRoutesRefuse(t *testing.T) {
	h := open(t, t.TempDir(), Options{})
	for _, query := range []string{
		"name=a+b", "match=x", "match==x", "match=a-b%3Dc", "since=yesterday", "since=0", "since=-1h", "since=NaN", "since=1e300",
		"since=1h&from=1", "since=1h&to=1", "from=x", "to=-1", "from=NaN", "to=1e300", "step=-1s", "step=x", "step=1ns",
		"from=2000000000&to=1000000000", "from=0&to=2000000000&step=1s", "limit=5",
	} {
		_, status, err := ask(t, h, "/api/metrics/query?"+query)
		assert.Equal(t, http.StatusBadRequest, status, query)
		require.Error(t, err, query)
	}
	require.NoError(t, h.Close())
	for _, route := range []string{"/api/metrics/query", "/api/metrics/names"} {
		_, status, err := ask(t, h, route)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.ErrorIs(t, err, ErrClosed)
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"name=a&since=1h&step=5", "from=1&to=2&match=a%3Db", "since=9e9&step=1ms", "from=2006-01-02T15:04:05Z", "from=9999-12-31T23:59:59Z&to=0001-01-01T00:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := url.ParseQuery(s)
		if err != nil {
			return
		}
		q, err := parseQuery(v, start)
		if err == nil && (q.Step < 0 || q.From.After(q.To) || q.Step > 0 && q.To.Sub(q.From)/q.Step > MaxPoints) {
			t.Fatalf("%q gives %+v", s, q)
		}
	})
}
