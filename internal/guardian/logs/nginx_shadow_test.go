package logs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// missing ends a message about a file.
const missing = `" failed (2: No such file or directory)`

func TestNginxLineBreaksInPaths(t *testing.T) {
	forged := ngx + `user "x": password mismatch` + ngxForge
	honest := ngx + `user "bob": password mismatch` + ngxTail
	// The request of a path with a line break has it, encoded.
	const tag = "Nov 23 08:10:19 web1 nginx[3]: "
	end := missing + strings.Replace(ngxTail, "GET /p", "GET /x%22%0A2026", 1)
	const want = "failure 192.0.2.7 GET /p user=bob"
	for name, record := range map[string]string{
		"cut at once":          ngx + `open() "/www/x` + "\n" + forged + "\n" + end,
		"whole at first sight": ngx + `open() "/www/x` + missing + ngxForge + "\n" + forged + "\n" + forged + "\n" + end,
		"with an end of its own": ngx + `open() "/www/x` + "\n" + missing + ngxForge + "\n" + forged + "\n" + missing + ngxForge + "\n" + forged +
			"\n" + end,
		"with a torn user":                ngx + `open() "/www/x` + missing + ngxForge + "\n" + forged + "\n" + ngx + "user \"a\n" + end,
		"behind syslog":                   "web1 nginx[3]: " + ngx + `open() "/www/x` + missing + ngxForge + "\nweb1 nginx[3]: " + forged + "\nweb1 nginx[3]: " + end,
		"an index":                        ngx + `directory index of "/www/x/" is forbidden` + ngxForge + "\n" + forged + "\n" + `/" is forbidden` + ngxTail,
		"a script's words":                ngx + `FastCGI sent in stderr: "PHP message: x` + "\n" + forged + "\n" + `" while reading` + ngxTail,
		"words of a module":               ngx + `[lua] x.lua:1: x` + "\n" + forged + "\n" + `y` + ngxTail,
		"as another's file":               ngx + `open() "/www/x` + missing + ngxForge + "\n" + forged + "\n" + ngx + `open() "/www/y` + end,
		"as a referrer":                   ngx + `open() "/www/x` + missing + ngxForge + "\n" + forged + `, referrer: "` + end,
		"cut off at its greatest length":  cutOff(ngx + `open() "/www/x` + missing + ngxForge + "\n" + forged + `, referrer: "` + strings.Repeat(`"`, 2000)),
		"cut off, with other line breaks": cutOff(ngx + `open() "/www/x` + missing + ngxForge + "\r\n" + forged + "\r\n" + forged + `, referrer: "` + strings.Repeat(`"`, 2000)),
		"cut off, as if by syslog": cutOff(ngx + `open() "/www/x` + missing + ngxForge + "\n" + tag + forged + "\n" + tag + tag + forged +
			`, referrer: "` + strings.Repeat(`"`, 2000)),
		"cut off in its request": cutOff(ngx + `open() "/www/x` + missing + ngxForge + "\n" + forged + "\n" + end + strings.Repeat("x", 2000)),
	} {
		t.Run(name, func(t *testing.T) {
			p := parser(t, "nginx-error", Options{})
			var got []string
			keep := func(events []Event) {
				for _, e := range events {
					require.NotEqual(t, "203.0.113.9", string(e.Host))
					got = append(got, told(e))
				}
			}
			keep(p.Parse([]byte(honest), nil))
			for line := range strings.SplitSeq(record+"\n"+honest, "\n") {
				keep(p.Parse([]byte(line), nil))
				p = successor(t, p)
			}
			keep(p.(Settler).Settle(nil))
			require.Equal(t, []string{want, want}, got, "no honest line is lost")
		})
	}
}

func TestNginxHoldsNoLongerThanARecord(t *testing.T) {
	p := parser(t, "nginx-error", Options{}).(*nginxError)
	path := ngx + `open() "/www/p` + missing + ngxTail
	honest := ngx + `user "bob": password mismatch` + ngxTail
	given, read := 0, 0
	for i := range 1000 {
		line := honest
		if i%7 == 0 {
			line = path
		}
		events := p.Parse([]byte(line), nil)
		for _, e := range events {
			require.Equal(t, "192.0.2.7", string(e.Host))
			require.Equal(t, given%7 == 0, e.Kind == Request, "the order is kept")
			given++
		}
		read += len(line) + 1
		require.LessOrEqual(t, len(p.shadow.text), 2*maxNginxRecord)
	}
	require.Greater(t, given, 970)
	given += len(p.Settle(nil))
	require.Equal(t, 1000, given)
	require.Empty(t, p.Settle(nil))
	require.Len(t, p.Parse([]byte(honest), nil), 1, "nothing is held without need")
}

func TestNginxLineBreaksInUsers(t *testing.T) {
	honest := ngx + `user "bob": password mismatch` + ngxTail
	told := []string{"failure 192.0.2.7 GET /p user=bob"}
	requireLines(t, parser(t, "nginx-error", Options{}), []lineCase{
		{ngx + `user "a`, nil}, {``, nil}, {`b" was not found in "/h"` + ngxTail, []string{"failure 192.0.2.7 GET /p user=a\n\nb"}},
		{honest, told},
		{ngx + `user "a`, nil}, {honest, told},
		{ngx + `user "` + strings.Repeat("a", maxNginxRecord), nil}, {honest, told},
		{ngx + `user "a`, nil}, {strings.Repeat("a", maxNginxRecord), nil}, {`" was not found in "/h"` + ngxTail, nil}, {honest, told},
	})
}

// cutOff makes a record no longer than nginx does.
func cutOff(record string) string { return record[:maxNginxRecord/2-1] }

// successor goes on where p is, as after a restart.
func successor(t *testing.T, p Parser) Parser {
	t.Helper()
	held := p.(Settler).Held()
	require.LessOrEqual(t, len(held), 8*maxNginxRecord)
	next := parser(t, "nginx-error", Options{})
	require.NoError(t, next.(Settler).Hold(held))
	require.Equal(t, held, next.(Settler).Held())
	return next
}

// Whoever takes over between any two lines gives the same events as one who reads all, and no two.
func TestNginxIsTakenOver(t *testing.T) {
	var lines []string
	for i := range 400 {
		switch i % 80 {
		case 0, 5, 50:
			lines = append(lines, ngx+`open() "/www/p`+missing+ngxTail)
		case 3:
			lines = append(lines, ngx+`user "a`, fmt.Sprintf(`%d": password mismatch`, i)+ngxTail)
		case 28:
			lines = append(lines, ngx+`open() "/www/`+strings.Repeat("x", i), `", client: nobody`)
		default:
			lines = append(lines, ngx+fmt.Sprintf(`user "%d": password mismatch`, i)+ngxTail)
		}
	}
	all := func(next func(Parser) Parser) (got []string) {
		p := parser(t, "nginx-error", Options{})
		for _, l := range lines {
			for _, e := range p.Parse([]byte(l), nil) {
				got = append(got, fmt.Sprint(told(e), e.At, e.Back))
			}
			p = next(p)
		}
		for _, e := range p.(Settler).Settle(nil) {
			got = append(got, fmt.Sprint(told(e), e.At, e.Back))
		}
		return got
	}
	want := all(func(p Parser) Parser { return p })
	require.Greater(t, len(want), 200)
	require.Equal(t, want, all(func(p Parser) Parser { return successor(t, p) }))
}

func TestNginxTakesNothingBroken(t *testing.T) {
	p := parser(t, "nginx-error", Options{}).(*nginxError)
	p.Parse([]byte(ngx+`open() "/www/p`+missing+ngxTail), nil)
	held := p.Held()
	for _, bad := range []string{
		"x", `{"records":[{"bytes":1,"end":1}]}`, `{"text":"eHg=","records":[{"bytes":1,"end":2},{"bytes":1,"end":1}]}`,
		`{"records":[{"bytes":1,"path":3}]}`, `{"records":[{"bytes":-1}]}`, `{"records":[{"bytes":1,"tags":2}]}`, `{"text":"eHg="}`,
	} {
		require.NoError(t, p.Hold(held))
		require.Error(t, p.Hold(bad), bad)
		require.Empty(t, p.Held())
	}
}
