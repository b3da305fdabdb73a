package peers

import (
	"fmt"
	"time"
)

// request is one that a web server has answered.
type request struct {
	at                                time.Time
	addr, method, path, agent, server string
	port, status, size                int
}

// webAgents are what most browsers and programs call themselves.
var webAgents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
	"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
	"curl/8.5.0",
}

// webProbes are paths that only scanners ask for.
var webProbes = []string{"/.env", "/.git/config", "/wp-login.php", "/phpmyadmin/index.php", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php"}

// next makes up a request: one in twenty is a scanner's.
func (m *logMaker) next() request {
	r := request{at: m.now(), addr: m.person(), method: "GET", server: "www.example.com", port: m.port(), status: 200, size: 200 + m.random.IntN(40000)}
	r.agent = webAgents[m.random.IntN(len(webAgents))]
	switch k := m.random.IntN(100); {
	case k < 5:
		r.addr, r.status, r.size = m.attacker(), 404, 153
		r.path = webProbes[m.random.IntN(len(webProbes))]
	case k < 60:
		r.path = fmt.Sprintf("/assets/app-%d.js?v=%d", m.random.IntN(300), m.random.IntN(20))
	case k < 80:
		r.path = fmt.Sprintf("/products/list?page=%d&sort=price", m.random.IntN(500))
	case k < 90:
		r.method, r.path, r.status = "POST", "/api/cart/items", 201
	case k < 97:
		r.path, r.status, r.size = fmt.Sprintf("/images/%d.webp", m.random.IntN(5000)), 304, 0
	default:
		r.path, r.status, r.size = fmt.Sprintf("/old/%d.html", m.random.IntN(50)), 404, 153
	}
	return r
}

// growNginx writes a line in nginx' form "combined".
func growNginx(m *logMaker) {
	r := m.next()
	m.line(`%s - - [%s] "%s %s HTTP/1.1" %d %d "https://%s/products/list" "%s"`,
		r.addr, r.at.Format("02/Jan/2006:15:04:05 -0700"), r.method, r.path, r.status, r.size, r.server, r.agent)
}

// growCaddy writes a line as Caddy 2 does, with the headers of a browser.
func growCaddy(m *logMaker) {
	r := m.next()
	m.line(`{"level":"info","ts":%.7f,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":%q,"remote_port":"%d",`+
		`"client_ip":%q,"proto":"HTTP/2.0","method":%q,"host":%q,"uri":%q,"headers":{"User-Agent":[%q],"Accept":["*/*"],`+
		`"Accept-Encoding":["gzip, deflate, br"],"Accept-Language":["en-US,en;q=0.9"],"Cookie":["REDACTED"]},"tls":{"resumed":false,`+
		`"version":772,"cipher_suite":4865,"proto":"h2","server_name":%q}},"bytes_read":0,"user_id":"","duration":%.9f,"size":%d,"status":%d,`+
		`"resp_headers":{"Server":["Caddy"],"Content-Encoding":["gzip"],"Content-Type":["text/html; charset=utf-8"],"Vary":["Accept-Encoding"]}}`,
		float64(r.at.UnixMicro())/1e6, r.addr, r.port, r.addr, r.method, r.server, r.path, r.agent, r.server, 0.0009+float64(r.size)/1e7, r.size, r.status)
}

// growTraefik writes a line as Traefik 3 does in its form "json".
func growTraefik(m *logMaker) {
	r := m.next()
	at, took := r.at.UTC(), 100000+r.size*7
	m.line(`{"ClientAddr":"%[1]s:%[2]d","ClientHost":"%[1]s","ClientPort":"%[2]d","ClientUsername":"-","DownstreamContentSize":%[3]d,`+
		`"DownstreamStatus":%[4]d,"Duration":%[5]d,"OriginContentSize":%[3]d,"OriginDuration":%[6]d,"OriginStatus":%[4]d,"Overhead":%[7]d,`+
		`"RequestAddr":%[8]q,"RequestContentSize":0,"RequestCount":%[9]d,"RequestHost":%[8]q,"RequestMethod":%[10]q,"RequestPath":%[11]q,`+
		`"RequestPort":"-","RequestProtocol":"HTTP/2.0","RequestScheme":"https","RetryAttempts":0,"RouterName":"web@docker",`+
		`"ServiceAddr":"10.0.0.3:8080","ServiceName":"web@docker","ServiceURL":"http://10.0.0.3:8080","StartLocal":"%[12]s","StartUTC":"%[12]s",`+
		`"entryPointName":"websecure","level":"info","msg":"","request_User-Agent":%[13]q,"time":"%[14]s"}`,
		r.addr, r.port, r.size, r.status, took, took-9000, 9000, r.server, m.lines+1, r.method, r.path,
		at.Format(time.RFC3339Nano), r.agent, at.Format(time.RFC3339))
}
