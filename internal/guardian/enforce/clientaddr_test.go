package enforce

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestClientAddr(t *testing.T) {
	trusted := prefixes("10.0.0.0/8", "192.0.2.1", "2001:db8:aaaa::/48")
	const proxy, stranger = "10.0.0.1:4711", "203.0.113.50:80"
	for name, c := range map[string]struct {
		peer string
		xff  []string
		real []string
		want string // "" for an error
	}{
		"no proxy":              {stranger, nil, nil, "203.0.113.50"},
		"stranger's headers":    {stranger, []string{"127.0.0.1"}, []string{"127.0.0.1"}, "203.0.113.50"},
		"stranger's garbage":    {stranger, []string{"x"}, []string{"x"}, "203.0.113.50"},
		"one hop":               {proxy, []string{"198.51.100.7"}, nil, "198.51.100.7"},
		"spoofed on the left":   {proxy, []string{"127.0.0.1, 10.9.9.9, 198.51.100.7"}, nil, "198.51.100.7"},
		"garbage on the left":   {proxy, []string{"<script>, 198.51.100.7"}, nil, "198.51.100.7"},
		"garbage on the right":  {proxy, []string{"198.51.100.7, unknown"}, nil, ""},
		"over trusted hops":     {proxy, []string{"198.51.100.7, 192.0.2.1,10.1.2.3"}, nil, "198.51.100.7"},
		"garbage after trusted": {proxy, []string{"198.51.100.7, _hidden, 10.1.2.3"}, nil, ""},
		"several lines":         {proxy, []string{"1.1.1.1", "198.51.100.7", "10.1.2.3"}, nil, "198.51.100.7"},
		"all trusted":           {proxy, []string{"10.5.5.5, 10.6.6.6"}, nil, "10.5.5.5"},
		"ports":                 {proxy, []string{"198.51.100.7:1234"}, nil, "198.51.100.7"},
		"IPv6":                  {proxy, []string{"2001:db8::7"}, nil, "2001:db8::7"},
		"IPv6 in brackets":      {proxy, []string{"[2001:db8::7]"}, nil, "2001:db8::7"},
		"IPv6 with a port":      {proxy, []string{"[2001:db8::7]:443"}, nil, "2001:db8::7"},
		"IPv4 in IPv6":          {"[::ffff:10.0.0.1]:80", []string{"::ffff:198.51.100.7"}, nil, "198.51.100.7"},
		"trusted over IPv6":     {"[2001:db8:aaaa::1]:80", []string{"198.51.100.7,2001:db8:aaaa:1::2"}, nil, "198.51.100.7"},
		"zones":                 {"[fe80::1%eth0]:80", nil, nil, "fe80::1"},
		"brackets around IPv4":  {proxy, []string{"[198.51.100.7]"}, nil, ""},
		"half a bracket":        {proxy, []string{"[2001:db8::7"}, nil, ""},
		"a name":                {proxy, []string{"localhost"}, nil, ""},
		"empty elements":        {proxy, []string{" , 198.51.100.7,, ", ""}, nil, "198.51.100.7"},
		"nothing in it":         {proxy, []string{", ,"}, []string{"198.51.100.8"}, "198.51.100.8"},
		"X-Real-IP":             {proxy, nil, []string{" 198.51.100.8 "}, "198.51.100.8"},
		"X-Forwarded-For first": {proxy, []string{"198.51.100.7"}, []string{"198.51.100.8"}, "198.51.100.7"},
		"X-Real-IP twice":       {proxy, nil, []string{"198.51.100.8", "198.51.100.9"}, ""},
		"X-Real-IP as a list":   {proxy, nil, []string{"198.51.100.8, 198.51.100.9"}, ""},
		"neither":               {proxy, nil, nil, "10.0.0.1"},
		"no address":            {"@", nil, nil, ""},
		"line break":            {proxy, []string{"127.0.0.1\r\n, 198.51.100.7\n"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{"X-Forwarded-For": c.xff, "X-Real-Ip": c.real}
			got, err := ClientAddr(&http.Request{RemoteAddr: c.peer, Header: h}, trusted)
			if c.want == "" {
				require.Error(t, err)
				require.NotEmpty(t, shivx.HintOf(err))
				require.False(t, got.IsValid())
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got.String())
		})
	}
}

// FuzzClientAddr: whatever a client writes, the address is the one that its proxy has added.
func FuzzClientAddr(f *testing.F) {
	f.Add("127.0.0.1", "10.0.0.2", "198.51.100.7")
	f.Add("a,b\x00", ", ,", "[2001:db8::1]:80")
	trusted := prefixes("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, forged, line, added string) {
		r := func(xff ...string) *http.Request {
			return &http.Request{RemoteAddr: "10.0.0.1:80", Header: http.Header{"X-Forwarded-For": xff}}
		}
		got, err := ClientAddr(r(forged, line), trusted)
		if err == nil && (!got.IsValid() || got.Is4In6() || got.Zone() != "") {
			t.Errorf("%q gives %v without an error", forged, got)
		}
		a, err := netip.ParseAddr(added)
		if err != nil || contains(trusted, a.Unmap()) {
			return
		}
		for _, req := range []*http.Request{r(forged + ", " + added), r(forged, line, added), r(forged+","+line, "10.1.1.1, "+added+", 10.2.2.2")} {
			got, err := ClientAddr(req, trusted)
			if err != nil || got != a.Unmap().WithZone("") {
				t.Errorf("%v gives %v, %v, want %s", req.Header, got, err, strings.TrimSpace(added))
			}
		}
	})
}
