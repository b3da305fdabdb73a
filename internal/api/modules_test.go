package api

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/resilience"
)

// TestTokensKeepTheModulesTheyAreGranted: nobody beats for another program, or invents one.
func TestTokensKeepTheModulesTheyAreGranted(t *testing.T) {
	s := newStand(t)
	const bare, watcher = "token-without-modules", "token-of-a-viewer-alone"
	s.cfg.API.Tokens = append(s.cfg.API.Tokens,
		config.Token{Name: "bare", Role: "app", Token: bare}, config.Token{Name: "watcher", Role: "viewer", Token: watcher})
	s.access.reload()
	s.modules.known["redis"] = resilience.Module{Name: "redis", State: "healthy"}
	type request struct{ method, path, body string }
	all := func(name string) []request {
		plain, err := url.PathUnescape(name)
		require.NoError(t, err)
		return []request{
			{"POST", "/api/modules", `{"name":"` + plain + `","critical":true,"lease":"30s"}`},
			{"PUT", "/api/modules/" + name + "/heartbeat", `{"status":"failing","message":"x"}`},
			{"PUT", "/api/modules/" + name + "/heartbeat", `nonsense`},
			{"DELETE", "/api/modules/" + name, ""},
		}
	}
	for token, name := range map[string]string{appToken: "shop", bare: "bare", watcher: "watcher"} {
		var first string
		for _, module := range []string{"redis", "no-such-module", "ashop", "SHOP", "..%2Fshop", "shop%2F1"} {
			for _, r := range all(module) {
				rec := s.do(r.method, r.path, token, r.body)
				require.Equal(t, http.StatusForbidden, rec.Code, "%s %s as %s: %s", r.method, r.path, name, rec.Body)
				if first == "" {
					first = rec.Body.String()
				}
				require.Equal(t, first, rec.Body.String(), "nothing is told of the module")
			}
		}
		require.Contains(t, first, "api.tokens[].modules")
	}
	require.Equal(t, map[string]resilience.Module{"redis": {Name: "redis", State: "healthy"}}, s.modules.known, "nothing has happened")
	require.Equal(t, http.StatusOK, s.do("GET", "/api/features", bare, "").Code, "features are for every app")

	for token, module := range map[string]string{appToken: "shop-eu-1", operatorToken: "redis", s.admin: "any"} {
		require.Equal(t, http.StatusNoContent, s.do("POST", "/api/modules", token, `{"name":"`+module+`","critical":true}`).Code, module)
		require.True(t, s.modules.known[module].Critical, "the grant is the consent to that")
		require.Equal(t, http.StatusNoContent, s.do("PUT", "/api/modules/"+module+"/heartbeat", token, "").Code, module)
		require.Equal(t, http.StatusNoContent, s.do("DELETE", "/api/modules/"+module, token, "").Code, module)
	}
	require.Empty(t, s.modules.known)
}
