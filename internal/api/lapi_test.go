package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

const firewall = "192.0.2.50:4000"

// pulled is the answer to a bouncer that asks over a connection.
func (s *stand) pulled(peer, query string) (d decisions) {
	s.t.Helper()
	rec := s.send("GET", "/v1/decisions/stream"+query, "", asks(appToken, peer))
	require.Equal(s.t, 200, rec.Code, rec.Body)
	decodeAnswer(s.t, rec, &d)
	return d
}

func values(list []decision) []string {
	out := make([]string, 0, len(list))
	for _, d := range list {
		out = append(out, d.Value)
	}
	return out
}

func TestBouncersAreToldWhatChanges(t *testing.T) {
	s := newStand(t)
	require.Equal(t, `{"new":null,"deleted":null}`+"\n",
		s.send("GET", "/v1/decisions/stream?startup=true", "", asks(appToken, firewall)).Body.String())
	s.isolates("203.0.113.7", time.Hour)
	s.isolates("2001:db8:0:1::7", 0)
	d := s.pulled(firewall, "")
	require.ElementsMatch(t, []string{"203.0.113.7", "2001:db8:0:1::/64"}, values(d.New))
	require.Nil(t, d.Deleted)
	for _, one := range d.New {
		require.Equal(t, [3]string{"shivx", "ban", "shivx/reported"}, [3]string{one.Origin, one.Type, one.Scenario})
		require.Less(t, one.ID, int64(1)<<53)
		left, err := time.ParseDuration(one.Duration)
		require.NoError(t, err)
		if one.Value == "203.0.113.7" {
			require.Equal(t, "Ip", one.Scope)
			require.InDelta(t, time.Hour, left, float64(2*time.Millisecond))
		} else {
			require.Equal(t, "Range", one.Scope)
			require.Greater(t, left, 300*24*time.Hour, "without an end")
		}
	}
	require.Equal(t, decisions{}, s.pulled(firewall, ""), "nothing twice")

	s.isolates("203.0.113.7", 2*time.Hour) // bouncers do not change a term: deleted, then new
	_, err := s.guardian.Restore(t.Context(), "2001:db8:0:1::", "test", "")
	require.NoError(t, err)
	d = s.pulled(firewall, "")
	require.Equal(t, []string{"203.0.113.7"}, values(d.New))
	require.ElementsMatch(t, []string{"203.0.113.7", "2001:db8:0:1::/64"}, values(d.Deleted))
	s.pass(2 * time.Hour)
	require.Equal(t, []string{"203.0.113.7"}, values(s.pulled(firewall, "").Deleted), "its term is over")
}

// TestDurationsAllBouncersRead: some hold a term below a millisecond for none, some need a fraction.
func TestDurationsAllBouncersRead(t *testing.T) {
	for left, want := range map[time.Duration]string{
		-time.Hour: "1.001s", 0: "1.001s", time.Nanosecond: "1.001s", time.Second: "1.001s", 1500 * time.Millisecond: "1.5s",
		time.Minute: "1m0.001s", time.Minute - time.Nanosecond: "1m0.001s", time.Hour + 30*time.Microsecond: "1h0m0.001s", shivx.MaxTerm: "8760h0m0.001s",
	} {
		require.Equal(t, want, lasting(left), left)
	}
}

func TestTheAllowListIsLeftOut(t *testing.T) {
	s := newStand(t)
	s.pulled(firewall, "?startup=true")
	s.isolates("198.51.100.0/26", time.Hour) // 198.51.100.0/28 is allowed
	require.ElementsMatch(t, []string{"198.51.100.16/28", "198.51.100.32/27"}, values(s.pulled(firewall, "").New))
	_, err := s.guardian.Restore(t.Context(), "198.51.100.0/26", "test", "")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"198.51.100.0/26", "198.51.100.16/28", "198.51.100.32/27"}, values(s.pulled(firewall, "").Deleted),
		"the whole, too: the allow list may have been another one")

	s.isolates("198.51.100.0/26", time.Hour)
	s.isolates("198.51.100.16/28", time.Hour)
	s.pulled(firewall, "")
	_, err = s.guardian.Restore(t.Context(), "198.51.100.0/26", "test", "")
	require.NoError(t, err)
	require.Equal(t, []string{"198.51.100.16/28"}, values(s.pulled(firewall, "").New), "which is isolated by itself, too")
}

func TestBouncersInALockdown(t *testing.T) {
	s := newStand(t)
	everybody := s.lockdownBans()
	s.pulled(firewall, "?startup=true")
	s.isolates("198.51.100.16/28", 0) // the neighbour of the allow list is a part of everybody
	s.pulled(firewall, "")
	s.sets(shivx.DefenseLockdown)
	require.ElementsMatch(t, values(everybody), values(s.pulled(firewall, "").New))
	require.Equal(t, decisions{}, s.pulled(firewall, ""))
	require.Len(t, s.pulled("192.0.2.51:1", "?startup=true").New, len(everybody)+1)
	s.pass(lockdownTerm / 2)
	d := s.pulled(firewall, "")
	require.Equal(t, values(d.Deleted), values(d.New), "renewed")
	require.Len(t, d.New, len(everybody))

	s.sets(shivx.DefenseNormal)
	d = s.pulled(firewall, "")
	require.ElementsMatch(t, values(everybody), values(d.Deleted))
	require.Equal(t, []string{"198.51.100.16/28"}, values(d.New), "isolated all the same")
	require.Equal(t, decisions{}, s.pulled(firewall, ""))

	require.Subset(t, values(s.pulled("192.0.2.60:1", "").Deleted), values(everybody), "one that is not known may hold a lockdown")
	require.Empty(t, s.pulled("192.0.2.61:1", "?startup=true").Deleted, "one that starts holds nothing")
}

// TestLostAnswersAreRepeated: over another connection nobody knows whether the last answer has arrived.
func TestLostAnswersAreRepeated(t *testing.T) {
	s := newStand(t)
	s.isolates("203.0.113.1", 0)
	require.Len(t, s.pulled(firewall, "?startup=true").New, 1)
	require.Len(t, s.pulled("192.0.2.50:4001", "").New, 1, "the start may be lost")
	require.Equal(t, decisions{}, s.pulled("192.0.2.50:4001", ""), "it has arrived: the connection was used again")
	s.isolates("203.0.113.2", 0)
	require.Equal(t, []string{"203.0.113.2"}, values(s.pulled("192.0.2.50:4001", "").New))
	s.isolates("203.0.113.3", 0)
	require.ElementsMatch(t, []string{"203.0.113.2", "203.0.113.3"}, values(s.pulled("192.0.2.50:4002", "").New))
	require.Equal(t, []string{"203.0.113.3"}, values(s.pulled("192.0.2.50:4003", "").New), "one answer is repeated, and not all there were")
	require.Equal(t, decisions{}, s.pulled("192.0.2.50:4004", ""))
	require.Equal(t, decisions{}, s.pulled("192.0.2.50:4005", ""))

	s.sets(shivx.DefenseLockdown)
	n := len(s.lockdownBans())
	require.Len(t, s.pulled("192.0.2.50:4005", "").New, n)
	require.Len(t, s.pulled("192.0.2.50:4006", "").New, n)
	require.Equal(t, decisions{}, s.pulled("192.0.2.50:4007", ""))
}

// broken is an answer that cannot be written.
type broken struct{ *httptest.ResponseRecorder }

func (broken) Write([]byte) (int, error) { return 0, errors.New("the connection is gone") }

func TestAnswersThatCannotBeWritten(t *testing.T) {
	s := newStand(t)
	s.pulled(firewall, "?startup=true")
	s.isolates("203.0.113.1", 0)
	s.pulled(firewall, "")
	s.isolates("203.0.113.2", 0)
	for range 3 {
		req := httptest.NewRequest("GET", "/v1/decisions/stream", nil)
		req.Host = s.Address()
		asks(appToken, firewall)(req)
		s.Handler().ServeHTTP(broken{httptest.NewRecorder()}, req)
	}
	require.ElementsMatch(t, []string{"203.0.113.1", "203.0.113.2"}, values(s.pulled(firewall, "").New), "all, and on the same connection")
	require.Equal(t, decisions{}, s.pulled(firewall, ""))
}

func TestHeadTellsNothing(t *testing.T) {
	s := newStand(t)
	s.pulled(firewall, "?startup=true")
	s.isolates("203.0.113.1", 0)
	for _, path := range []string{"/v1/decisions/stream", "/v1/decisions"} {
		require.Equal(t, 200, s.send("HEAD", path, "", asks(appToken, firewall)).Code)
	}
	require.Len(t, s.pulled(firewall, "").New, 1)
}

func TestBouncersAreToldApart(t *testing.T) {
	s := newStand(t)
	for _, peer := range []string{firewall, "192.0.2.51:4000", "127.0.0.1:4000"} {
		s.pulled(peer, "?startup=true")
	}
	s.isolates("203.0.113.1", 0)
	require.Len(t, s.pulled(firewall, "").New, 1)
	require.Len(t, s.pulled("192.0.2.51:4000", "").New, 1, "the same token on another host")
	require.Len(t, s.pulled("127.0.0.1:4000", "").New, 1)
	var d decisions
	decodeAnswer(t, s.send("GET", "/v1/decisions/stream", "", asks(gateToken, firewall)), &d)
	require.Len(t, d.New, 1, "another token")
	decodeAnswer(t, s.send("GET", "/v1/decisions/stream", "", asks(appToken, firewall, "User-Agent", "nginx-bouncer/1")), &d)
	require.Len(t, d.New, 1, "another program")
}

func TestBouncerIsForgottenAfterAThousandOthers(t *testing.T) {
	var b bouncers
	now := time.Unix(1_800_000_000, 0)
	for i := range maxBouncers + 1 {
		name := string(rune('a'+i%26)) + time.Duration(i).String()
		require.False(t, b.again(name, firewall, now.Add(time.Duration(i))))
		b.lockdown(name, false, false, false, now)
	}
	require.Len(t, b.known, maxBouncers)
	begin, end := b.lockdown("a0s", false, false, false, now)
	require.False(t, begin)
	require.True(t, end, "it may hold anything")
}

func TestFiltersOfBouncers(t *testing.T) {
	s := newStand(t)
	s.isolates("203.0.113.7", time.Hour)
	s.isolates("203.0.113.0/24", time.Hour)
	s.isolates("2001:db8:0:1::7", time.Hour)
	s.isolates("198.51.100.0/26", 0)
	for query, want := range map[string][]string{
		"":                                              {"203.0.113.7", "203.0.113.0/24", "2001:db8:0:1::/64", "198.51.100.16/28", "198.51.100.32/27"},
		"?ip=203.0.113.7":                               {"203.0.113.7", "203.0.113.0/24"},
		"?ip=203.0.113.8":                               {"203.0.113.0/24"},
		"?ip=::ffff:203.0.113.8":                        {"203.0.113.0/24"},
		"?ip=198.51.100.20":                             {"198.51.100.16/28"},
		"?ip=198.51.100.3":                              nil,
		"?ip=192.0.2.1":                                 nil,
		"?ip=2001:db8:0:1::99":                          {"2001:db8:0:1::/64"},
		"?range=203.0.113.0/25":                         {"203.0.113.0/24"},
		"?range=203.0.113.0/16":                         nil,
		"?range=203.0.0.0/16&contains=false":            {"203.0.113.7", "203.0.113.0/24"},
		"?ip=203.0.113.7&contains=false":                {"203.0.113.7"},
		"?scope=Ip&value=203.0.113.7":                   {"203.0.113.7"},
		"?scope=ip&value=203.0.113.8":                   nil,
		"?scope=range&value=203.0.113.0/24":             {"203.0.113.0/24"},
		"?scope=country&value=DE":                       nil,
		"?scopes=ip":                                    {"203.0.113.7"},
		"?scopes=range,country":                         {"203.0.113.0/24", "2001:db8:0:1::/64", "198.51.100.16/28", "198.51.100.32/27"},
		"?type=captcha":                                 nil,
		"?type=ban&ip=203.0.113.8":                      {"203.0.113.0/24"},
		"?origins=CAPI,lists":                           nil,
		"?origins=crowdsec,shivx&ip=203.0.113.8":        {"203.0.113.0/24"},
		"?scenarios_containing=ssh,http":                nil,
		"?scenarios_containing=reported&ip=203.0.113.8": {"203.0.113.0/24"},
		"?scenarios_not_containing=reported":            nil,
		"?dedup=false&unknown=x&scopes=ip":              {"203.0.113.7"},
	} {
		rec := s.send("GET", "/v1/decisions"+query, "", asks(appToken, firewall))
		require.Equal(t, 200, rec.Code, query)
		var got []decision
		decodeAnswer(t, rec, &got)
		require.ElementsMatch(t, want, values(got), query)
		if want == nil {
			require.Equal(t, "null\n", rec.Body.String())
		}
	}
	require.Equal(t, []string{"203.0.113.7"}, values(s.pulled(firewall, "?startup=true&scopes=ip").New))
	require.Nil(t, s.pulled(firewall, "?startup=true&origins=CAPI").New)
	require.Nil(t, s.pulled(firewall, "?startup=true&scenarios_not_containing=reported").New)
	_, err := s.guardian.Restore(t.Context(), "203.0.113.0/24", "test", "")
	require.NoError(t, err)
	require.Equal(t, []string{"203.0.113.0/24"}, values(s.pulled(firewall, "?scenarios_containing=reported").Deleted),
		"what has ended has ended, whatever the scenario was")

	s.sets(shivx.DefenseLockdown)
	var got []decision
	decodeAnswer(t, s.send("GET", "/v1/decisions?ip=192.0.2.1", "", asks(appToken, firewall)), &got)
	require.Len(t, got, 1)
	require.Equal(t, "shivx/lockdown", got[0].Scenario)
	require.Equal(t, "null\n", s.send("GET", "/v1/decisions?ip=198.51.100.3", "", asks(appToken, firewall)).Body.String())
}

// TestErrorsOfBouncersHaveAMessage: their client library ends the program without one.
func TestErrorsOfBouncersHaveAMessage(t *testing.T) {
	s := newStand(t)
	for path, code := range map[string]int{
		"/v1/decisions?ip=x": 400, "/v1/decisions?range=1.2.3.4/99": 400, "/v1/decisions?contains=maybe": 400, "/v1/decisions/stream?ip=x": 400,
		"/v1/nothing": 404, "/v1/decisions/stream?startup=true": 401,
	} {
		token := appToken
		if code == 401 {
			token = "wrong"
		}
		rec := s.send("GET", path, "", asks(token, firewall))
		require.Equal(t, code, rec.Code, path)
		var p struct {
			Title, Message string
		}
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &p))
		require.NotEmpty(t, p.Message, path)
		require.Equal(t, p.Title, p.Message)
	}
	rec := s.send("DELETE", "/v1/decisions", "", asks(s.admin, firewall))
	require.Equal(t, 405, rec.Code, "only we decide")
	require.Contains(t, rec.Body.String(), `"message"`)
	require.NotContains(t, s.do("GET", "/api/nothing", s.admin, "").Body.String(), `"message"`)
}

func TestUsageMetricsAreTaken(t *testing.T) {
	s := newStand(t)
	for _, body := range []string{`{"remediation_components":[]}`, "", strings.Repeat("x", maxUsage+1)} {
		require.Equal(t, 201, s.send("POST", "/v1/usage-metrics", body, asks(appToken, firewall)).Code)
	}
}

var _ http.ResponseWriter = broken{}
