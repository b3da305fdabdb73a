package logs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const when = " [20/Jan/2015:19:53:28 +0100] "

func TestAccessLines(t *testing.T) {
	requireLines(t, parser(t, "nginx-access", Options{}), []lineCase{
		// Forms.
		{`192.0.2.7 - -` + when + `"GET /a?b=c HTTP/1.1" 200 5`, []string{"request 192.0.2.7 200 GET /a"}},
		{`2001:db8:: - -` + when + `"GET / HTTP/1.1" 200 5`, []string{"request 2001:db8:: 200 GET /"}},
		{`::ffff:192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5`, []string{"request 192.0.2.7 200 GET /"}},
		{`192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5 "http://r/" "agent \"x\" y"`, []string{`request 192.0.2.7 200 GET / agent=agent \"x\" y`}},
		{`192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5 "-" "a" "203.0.113.9" 0.01`, []string{"request 192.0.2.7 200 GET / agent=a"}},
		{`www.example.com:443 192.0.2.7 - -` + when + `"GET / HTTP/1.1" 404 5 "-" "a"`, []string{"request 192.0.2.7 404 GET / agent=a"}},
		{`www.example.com client.example.net - -` + when + `"GET / HTTP/1.1" 200 5`, []string{"request client.example.net! 200 GET /"}},
		{`web1 nginx[31]: 192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5`, []string{"request 192.0.2.7 200 GET /"}},
		{`<190>Nov 23 08:10:23 web1 nginx: 192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5`, []string{"request 192.0.2.7 200 GET /"}},
		{`2026-11-23T08:10:23.1+00:00 web1 nginx[4]: 192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5`, []string{"request 192.0.2.7 200 GET /"}},
		{`192.0.2.7 - -` + when + `"GET https://h/x?y HTTP/2.0" 200 5`, []string{"request 192.0.2.7 200 GET /x"}},
		// What only a prober sends.
		{`192.0.2.7 - -` + when + `"" 400 0 "-" "-"`, []string{"request 192.0.2.7 400 agent=-", "probe 192.0.2.7 400 agent=-"}},
		{`192.0.2.7 - -` + when + `"-" 408 -`, []string{"request 192.0.2.7 408"}},
		{`192.0.2.7 - -` + when + `"\x16\x03\x01\x22\x5C" 400 157 "-" "-"`, []string{"request 192.0.2.7 400 agent=-", "probe 192.0.2.7 400 agent=-"}},
		{`192.0.2.7 - -` + when + `"\x16\x03\x01" 501 157`, []string{"request 192.0.2.7 501", "probe 192.0.2.7 501"}},
		{`192.0.2.7 - -` + when + `"GET /form HTTP/1.1" 400 9 "http://h/" "Firefox"`, []string{"request 192.0.2.7 400 GET /form agent=Firefox"}},
		{`192.0.2.7 - -` + when + `"GET /x HTTP/1.1" 444 0 "-" "a"`, []string{"request 192.0.2.7 444 GET /x agent=a", "denied 192.0.2.7 444 GET /x agent=a"}},
		// Logins.
		{`192.0.2.7 - -` + when + `"GET /p HTTP/1.1" 401 9`, []string{"request 192.0.2.7 401 GET /p"}},
		{`192.0.2.7 - bob` + when + `"GET /p HTTP/1.1" 200 9`, []string{"request 192.0.2.7 200 GET /p user=bob"}},
		{`192.0.2.7 - bob` + when + `"GET /p HTTP/1.1" 401 9`, []string{"request 192.0.2.7 401 GET /p user=bob", "failure 192.0.2.7 401 GET /p user=bob"}},
		{`192.0.2.7 - ""` + when + `"GET /p HTTP/1.1" 401 9`, []string{"request 192.0.2.7 401 GET /p user=", "failure 192.0.2.7 401 GET /p user="}},
		// No lines of this kind.
		{``, nil}, {`"`, nil}, {`192.0.2.7`, nil}, {`192.0.2.7 - - "GET / HTTP/1.1" 200`, nil}, {`192.0.2.7 - - [x] "GET / HTTP/1.1" 200`, nil},
	})
}

func TestAccessLinesOfAttackers(t *testing.T) {
	const agent = ` agent=a`
	requireLines(t, parser(t, "apache-access", Options{}), []lineCase{
		// 203.0.113.9 is an innocent in the words of 192.0.2.7.
		{`192.0.2.7 - x [1/2]` + when + `"GET / HTTP/1.1" 401 5`,
			[]string{"request 192.0.2.7 401 GET / user=x [1/2]", "failure 192.0.2.7 401 GET / user=x [1/2]"}},
		{`192.0.2.7 - 203.0.113.9 - -` + when + `"GET / HTTP/1.1" 200 5`, []string{"request 192.0.2.7 200 GET / user=203.0.113.9 - -"}},
		{`192.0.2.7 - x [20/Jan/2015:19:53:28 +0100] \"GET / HTTP/1.1\" 401` + when + `"GET / HTTP/1.1" 200 5`,
			[]string{`request 192.0.2.7 200 GET / user=x [20/Jan/2015:19:53:28 +0100] \"GET / HTTP/1.1\" 401`}},
		{`203.0.113.9 192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5 "-" "a"`, []string{"request 192.0.2.7 200 GET /" + agent}},
		{`203.0.113.9, 192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5 "-" "a"`, []string{"request 192.0.2.7 200 GET /" + agent}},
		{`203.0.113.9, x, 192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5 "-" "a"`, []string{"request 192.0.2.7 200 GET /" + agent}},
		{`203.0.113.9 x, 192.0.2.7 - -` + when + `"GET / HTTP/1.1" 200 5 "-" "a"`, []string{"request 192.0.2.7 200 GET /" + agent}},
		{`203.0.113.9 198.51.100.9 y, 192.0.2.7 - bob` + when + `"GET / HTTP/1.1" 200 5 "-" "a"`, []string{"request 192.0.2.7 200 GET / user=bob" + agent}},
		{`192.0.2.7 - x, 203.0.113.9 - -` + when + `"GET / HTTP/1.1" 200 5`, []string{"request 192.0.2.7 200 GET / user=x, 203.0.113.9 - -"}},
		{`192.0.2.7 - nginx: 203.0.113.9 - -` + when + `"GET / HTTP/1.1" 200 5`, []string{"request 192.0.2.7 200 GET / user=nginx: 203.0.113.9 - -"}},
		{`192.0.2.7 - -` + when + `"GET /\" 200 5 \"-\" \"sqlmap HTTP/1.1" 404 5 "-" "a"`,
			[]string{`request 192.0.2.7 404 GET /\" 200 5 \"-\" \"sqlmap` + agent}},
		{`192.0.2.7 - -` + when + `"GET / HTTP/1.1" 404 5 "x\\" "a"`, []string{"request 192.0.2.7 404 GET /" + agent}},
		{`192.0.2.7 - -` + when + `"GET / HTTP/1.1`, []string{"request 192.0.2.7 GET /"}},
	})
}

func TestAccessTimes(t *testing.T) {
	p := parser(t, "nginx-access", Options{})
	require.Equal(t, "2015-01-20T18:53:28Z", at(t, p, `192.0.2.7 - -`+when+`"GET / HTTP/1.1" 200 5`))
	require.Equal(t, "2016-02-29T23:59:59Z", at(t, p, `192.0.2.7 - - [29/Feb/2016:23:59:59 +0000] "GET / HTTP/1.1" 200 5`))
	require.Equal(t, "2016-03-01T05:29:59Z", at(t, p, `192.0.2.7 - - [29/Feb/2016:23:59:59 -0530] "GET / HTTP/1.1" 200 5`))
}

func TestAccessTimesOfOtherForms(t *testing.T) {
	p := parser(t, "nginx-access", Options{Zone: time.FixedZone("", 7200)})
	for _, when := range []string{"2026-05-04T03:12:44+02:00", "04/May/2026:03:12:44.5 +0200", "04/May/2026:03:12:44.5"} {
		require.Contains(t, at(t, p, `192.0.2.7 - - [`+when+`] "GET / HTTP/1.1" 200 5`), "2026-05-04T01:12:44", when)
	}
}

func TestAccessAggressive(t *testing.T) {
	requireLines(t, parser(t, "nginx-access", Options{Mode: "aggressive"}), []lineCase{
		{`192.0.2.7 - -` + when + `"GET /form HTTP/1.1" 400 9 "http://h/" "Firefox"`,
			[]string{"request 192.0.2.7 400 GET /form agent=Firefox", "probe 192.0.2.7 400 GET /form agent=Firefox"}},
	})
}
