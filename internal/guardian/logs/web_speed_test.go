package logs

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// speedLines are lines as servers write them, by format.
func speedLines() map[string]string {
	agent := "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	access := `192.0.2.7 - -` + when + `"GET /assets/app-4f2c.js?v=17 HTTP/1.1" 200 203023 "https://www.example.com/products/list" "` + agent + `"`
	return map[string]string{
		"nginx-access":  access,
		"apache-access": access,
		"nginx-error":   ngx + `user "bob": password mismatch` + ngxTail,
		"apache-error":  apache24 + `AH01617: user bob: authentication failure for "/b": Password Mismatch`,
		"caddy": caddyText(`,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"],"Content-Encoding":["gzip"],"Content-Type":["text/html; charset=utf-8"],"Vary":["Accept-Encoding"]}`, "",
			`,"Accept-Encoding":["gzip, deflate, br"],"Accept-Language":["en-US,en;q=0.9"],"Cookie":["REDACTED"],"User-Agent":["`+agent+`"]`),
		"traefik": `{"ClientAddr":"192.0.2.7:50212","ClientHost":"192.0.2.7","ClientPort":"50212","ClientUsername":"-","DownstreamContentSize":1024,"DownstreamStatus":200,"Duration":1834521,"OriginContentSize":1024,"OriginDuration":1720000,"OriginStatus":200,"Overhead":114521,"RequestAddr":"www.example.com","RequestContentSize":0,"RequestCount":512,"RequestHost":"www.example.com","RequestMethod":"GET","RequestPath":"/api/items?page=2","RequestPort":"-","RequestProtocol":"HTTP/2.0","RequestScheme":"https","RetryAttempts":0,"RouterName":"web@docker","ServiceAddr":"10.0.0.3:8080","ServiceName":"web@docker","StartLocal":"2026-11-23T08:10:19.123456789Z","StartUTC":"2026-11-23T08:10:19.123456789Z","entryPointName":"websecure","level":"info","msg":"","request_User-Agent":"` + agent + `","time":"2026-11-23T08:10:19Z"}`,
		"haproxy": `Nov 23 08:10:23 lb1 haproxy[10526]: 192.0.2.7:47654 [23/Nov/2026:08:10:23.131] fe~ app/s1 10/0/30/69/109 200 2750 - - ---- 1/1/0/0/0 0/0 "GET /a?b HTTP/1.1"`,
	}
}

func TestWebParsersAllocateNothing(t *testing.T) {
	for format, line := range speedLines() {
		t.Run(format, func(t *testing.T) {
			for _, text := range []string{line, strings.ReplaceAll(line, "Mozilla", `\"\u00e9`), "web1 x[7]: " + line, line[:len(line)/2]} {
				p, b, events := parser(t, format, Options{Mode: modeAggressive}), []byte(text), make([]Event, 0, 4)
				events = p.Parse(b, events)
				require.Zero(t, testing.AllocsPerRun(100, func() { events = p.Parse(b, events[:0]) }), text)
			}
		})
	}
	t.Run("nginx-error of paths", func(t *testing.T) {
		p, b, events := parser(t, "nginx-error", Options{}), []byte(ngx+`open() "/www/p`+missing+ngxTail), make([]Event, 0, 4)
		for range 1000 {
			events = p.Parse(b, events[:0])
		}
		require.Len(t, events, 1)
		require.Zero(t, testing.AllocsPerRun(100, func() { events = p.Parse(b, events[:0]) }))
	})
	s, err := NewSignatures([]string{"*.bak"}, []string{"evilbot"})
	require.NoError(t, err)
	path, agent := []byte("/products/%2e%2e/list/of/things"), []byte("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0")
	require.Zero(t, testing.AllocsPerRun(100, func() { s.ProbePath(path); s.Tool(agent) }))
}

// BenchmarkWeb also reports the processor's own time, as the clock's depends on who else works.
func BenchmarkWeb(b *testing.B) {
	for format, line := range speedLines() {
		b.Run(format, func(b *testing.B) {
			p, text, events := parser(b, format, Options{}), []byte(line), make([]Event, 0, 4)
			b.SetBytes(int64(len(text)))
			cpuTime(b, func() { events = p.Parse(text, events[:0]) })
			require.NotEmpty(b, events)
		})
	}
	b.Run("signatures", func(b *testing.B) {
		s, err := NewSignatures(nil, nil)
		require.NoError(b, err)
		path, agent := []byte("/assets/app-4f2c.js"), []byte("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36")
		cpuTime(b, func() {
			s.ProbePath(path)
			s.Tool(agent)
		})
	})
}

func cpuTime(b *testing.B, do func()) {
	b.ReportAllocs()
	used := func() int64 {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	for b.Loop() {
		do()
	}
	b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op")
}
