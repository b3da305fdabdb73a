package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func decodeAnswer(t *testing.T, rec *httptest.ResponseRecorder, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), v), rec.Body)
}

func TestFeaturesFollowTheLevel(t *testing.T) {
	s := newStand(t)
	for level, on := range map[shivx.Level]bool{
		shivx.LevelNormal: true, shivx.Level1: true, shivx.Level2: false, shivx.Level3: false, shivx.LevelEmergency: false,
	} {
		s.host.set(level, 50)
		var f featureAnswer
		decodeAnswer(t, s.do("GET", "/api/features/web_search", appToken, ""), &f)
		require.Equal(t, on, f.Enabled, level)
		require.Equal(t, level, f.Level)
		require.Equal(t, shivx.Level2, f.OffAt)
		require.NotEmpty(t, f.Reason)
		decodeAnswer(t, s.do("GET", "/api/features/chat", appToken, ""), &f)
		require.True(t, f.Enabled)
	}
	rec := s.do("GET", "/api/features/nothing", appToken, "")
	require.Equal(t, http.StatusNotFound, rec.Code)
}

func TestListOfFeaturesHasATag(t *testing.T) {
	s := newStand(t)
	ask := func(method, path, tags string) *httptest.ResponseRecorder {
		return s.send(method, path, "", func(r *http.Request) {
			r.Header.Set("X-API-Key", appToken)
			if tags != "" {
				r.Header.Set("If-None-Match", tags)
			}
		})
	}
	for _, route := range [][2]string{{"GET", "/api/features"}, {"POST", "/ofrep/v1/evaluate/flags"}} {
		s.host.set(shivx.LevelNormal, 93)
		first := ask(route[0], route[1], "")
		require.Equal(t, 200, first.Code)
		etag := first.Header().Get("ETag")
		require.Regexp(t, `^"[0-9a-f]{32}"$`, etag)
		for tags, code := range map[string]int{etag: 304, "W/" + etag: 304, `"x", ` + etag: 304, "*": 304, `"x"`: 200, strings.Trim(etag, `"`): 200} {
			rec := ask(route[0], route[1], tags)
			require.Equal(t, code, rec.Code, tags)
			require.Equal(t, etag, rec.Header().Get("ETag"))
			require.Equal(t, code == 304, rec.Body.Len() == 0)
		}
		s.host.set(shivx.Level1, 70)
		require.Equal(t, 200, ask(route[0], route[1], etag).Code, "it changed")
		s.host.set(shivx.LevelNormal, 93)
		require.Equal(t, 304, ask(route[0], route[1], etag).Code, "and is as it was")
	}
}

func TestEvaluationOfOneFlag(t *testing.T) {
	s := newStand(t)
	s.host.set(shivx.Level1, 70)
	for flag, want := range map[string]string{
		"chat":      `{"key":"chat","value":true,"reason":"STATIC","variant":"on","metadata":{"level":"LEVEL_1","why":"on: the host is at LEVEL_1"}}`,
		"uploads":   `{"key":"uploads","value":true,"reason":"TARGETING_MATCH","variant":"on","metadata":{"level":"LEVEL_1","why":"on: the host is at LEVEL_1"}}`,
		"analytics": `{"key":"analytics","value":false,"reason":"TARGETING_MATCH","variant":"off","metadata":{"level":"LEVEL_1","why":"off since 08:00 UTC on 1 Jan: the host is at LEVEL_1"}}`,
	} {
		rec := s.do("POST", "/ofrep/v1/evaluate/flags/"+flag, appToken, `{"context":{"targetingKey":"u1"}}`)
		require.Equal(t, 200, rec.Code)
		require.JSONEq(t, want, rec.Body.String())
	}
	rec := s.do("POST", "/ofrep/v1/evaluate/flags/no%2Fsuch%20one", appToken, "{}")
	require.Equal(t, 404, rec.Code)
	var f failure
	decodeAnswer(t, rec, &f)
	require.Equal(t, "no/such one", f.Key)
	require.Equal(t, codeNotFound, f.ErrorCode)
}

func TestBodiesOfEvaluations(t *testing.T) {
	s := newStand(t)
	for body, code := range map[string]string{
		"": "", " \n": "", "{}": "", `{"context":{}}`: "", `{"context":null}`: "", `{"future":[1,{"context":1}],"context":{"a":"\"}"}}`: "",
		`{"a":"context","b":{"context":2},"c\"ontext":3}`: "", `{"a":["x","context"],"b":"}{"}`: "",
		`{"context":"me"}`: codeInvalidContext, `{"context":[1]}`: codeInvalidContext, `{"x":1, "context" : 1}`: codeInvalidContext, `{"context":true}`: codeInvalidContext,
		`{"\u0063ontext":"me"}`: codeInvalidContext, `{"\u0063ontext":{}}`: "", `null`: codeParse,
		`[]`: codeParse, `1`: codeParse, `"context"`: codeParse, `{`: codeParse, `{} {}`: codeParse, "\x00": codeParse,
		`{"context":{"a":"` + strings.Repeat("x", maxBody) + `"}}`: codeParse,
	} {
		for _, path := range []string{"/ofrep/v1/evaluate/flags/chat", "/ofrep/v1/evaluate/flags"} {
			rec := s.do("POST", path, appToken, body)
			if code == "" {
				require.Equal(t, 200, rec.Code, "%.60q: %s", body, rec.Body)
				continue
			}
			require.Equal(t, 400, rec.Code, "%.60q: %s", body, rec.Body)
			var f failure
			decodeAnswer(t, rec, &f)
			require.Equal(t, code, f.ErrorCode, "%.60q", body)
		}
	}
}

func TestMemberOfObjects(t *testing.T) {
	for object, want := range map[string]byte{
		`{}`: 0, `{"k":1}`: '1', `{"a":{"k":1}}`: 0, `{"a":[{"k":1},"k"],"k":"x"}`: '"', `{"a":"k","b":1}`: 0, `{"\"k":2,"k" :	[]}`: '[', `{"a":"\\","k":null}`: 'n',
		`{"\u006b":1}`: '1', `{"\u006b2":1}`: 0, `{"\\u006b":1}`: 0, `{"a\"":1,"\u006B":[]}`: '[',
	} {
		require.Equal(t, want, member([]byte(object), "k"), object)
	}
}

// TestMissingParts: a part of the agent that could not be made is no reason to crash.
func TestMissingParts(t *testing.T) {
	s := newStand(t)
	s.parts = Options{Metrics: s.parts.Metrics}
	for _, r := range s.routes() {
		rec := s.do(r.method, sample(r.path), s.admin, "{}")
		if strings.HasPrefix(r.path, "/ofrep") {
			require.Equal(t, 500, rec.Code, "the protocol has no 503")
		} else if rec.Code != 400 {
			require.Contains(t, []int{200, 201, 303, 403, 503}, rec.Code, r.path)
		}
	}
	require.Equal(t, 503, s.do("GET", "/api/features", s.admin, "").Code)
	require.Equal(t, 503, s.do("GET", "/api/metrics/query", s.admin, "").Code)
}
