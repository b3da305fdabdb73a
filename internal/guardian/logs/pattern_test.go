package logs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestPattern(t *testing.T) {
	p := parser(t, "regexp", Options{
		Pattern: `^(?P<time>\S+) login of "(?P<user>[^"]*)" from (?P<host>\S+) (?P<method>\S+) (?P<path>\S+) (?P<status>\d+)(?: (?P<agent>.+))?$`,
	})
	requireLines(t, p, []lineCase{
		{`2026-11-23T08:10:19Z login of "bob" from [2001:db8::7]:1 GET /a?b 401`, []string{"failure 2001:db8::7 401 GET /a user=bob"}},
		{`2026-11-23T08:10:19Z login of "bob" from 192.0.2.7:55 GET /a 401 x y`, []string{"failure 192.0.2.7 401 GET /a user=bob agent=x y"}},
		{`something else`, nil},
	})
	require.Equal(t, "2026-11-23T08:10:19Z", at(t, p, `2026-11-23T08:10:19Z login of "bob" from 192.0.2.7 GET / 401`))

	p = parser(t, "regexp", Options{Pattern: `^(?P<time>.{15}) app: (?P<host>\S+)`, TimeLayout: time.Stamp, Kind: Denied, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	requireLines(t, p, []lineCase{{`Dec 31 08:10:19 app: 192.0.2.7`, []string{"denied 192.0.2.7"}}})
	require.Equal(t, "2025-12-31T08:10:19Z", at(t, p, `Dec 31 08:10:19 app: 192.0.2.7`))
	require.Zero(t, p.Parse([]byte(`Dec 41 08:10:19 app: 192.0.2.7`), nil)[0].At)
}

func TestPatternSaysWhatIsWrong(t *testing.T) {
	for pattern, want := range map[string]string{
		``: "needs a pattern", `(`: "cannot be compiled", `(?P<x>a)(?P<host>b)`: `group "x"`,
		`^from (\S+)$`: `no group "host"`, `(?P<host>a)|(?P<host>b)`: `group "host" twice`, `(?=x)(?P<host>a)`: "cannot be compiled",
	} {
		_, err := New("regexp", Options{Pattern: pattern})
		require.ErrorContains(t, err, want, pattern)
		require.NotEmpty(t, shivx.HintOf(err), pattern)
	}
}
