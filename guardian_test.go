package shivx_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestParseSource(t *testing.T) {
	for in, want := range map[string]string{
		"203.0.113.7":            "203.0.113.7",
		"203.0.113.7/32":         "203.0.113.7",
		"203.0.113.7/24":         "203.0.113.0/24",
		"::ffff:203.0.113.7":     "203.0.113.7",
		"::ffff:203.0.113.0/120": "203.0.113.0/24",
		"2001:db8::1":            "2001:db8::/64",
		"2001:DB8:0:0:1::1":      "2001:db8::/64",
		"2001:db8::1/128":        "2001:db8::1/128",
		"2001:db8::1/48":         "2001:db8::/48",
		"fe80::1%eth0":           "fe80::/64",
	} {
		p, err := shivx.ParseSource(in)
		require.NoError(t, err, in)
		require.Equal(t, want, shivx.SourceString(p), in)
		again, err := shivx.ParseSource(shivx.SourceString(p))
		require.NoError(t, err)
		require.Equal(t, p, again, "the form is stable")
	}
	for _, in := range []string{"", "example.com", "192.030.0.6", "203.0.113.7/33", "203.0.113", "10.0.0.0/8/8", "2001:db8::/129"} {
		_, err := shivx.ParseSource(in)
		require.Error(t, err, in)
		require.NotEmpty(t, shivx.HintOf(err))
	}
	require.Equal(t, netip.MustParsePrefix("203.0.113.7/32"), shivx.SourceOf(netip.MustParseAddr("::ffff:203.0.113.7")))
}

func TestIsolationInForce(t *testing.T) {
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	i := shivx.Isolation{Until: at}
	require.True(t, i.InForce(at.Add(-time.Second)))
	require.False(t, i.InForce(at))
	require.True(t, shivx.Isolation{}.InForce(at), "without an end")
	require.False(t, shivx.Isolation{Lifted: true}.InForce(at))
}

func TestIsolationRequestCheck(t *testing.T) {
	good := shivx.IsolationRequest{Source: "203.0.113.7", By: "ana", For: shivx.Duration(time.Hour)}
	require.NoError(t, good.Check())
	for _, edit := range []func(*shivx.IsolationRequest){
		func(r *shivx.IsolationRequest) { r.Source = "x" },
		func(r *shivx.IsolationRequest) { r.By = " " },
		func(r *shivx.IsolationRequest) { r.Indefinite = true },
		func(r *shivx.IsolationRequest) { r.For = -1 },
		func(r *shivx.IsolationRequest) { r.For = shivx.Duration(shivx.MaxTerm + 1) },
	} {
		bad := good
		edit(&bad)
		require.Error(t, bad.Check())
		require.NotEmpty(t, shivx.HintOf(bad.Check()))
	}
}
