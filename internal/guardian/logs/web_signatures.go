package logs

// probePaths are parts of paths, in lower case, that nobody follows a link to: what they would reveal
// or open if they were there is known to everybody. A part begins at a slash wherever it is in the path,
// and the byte 0 is the path's end. Left out is what browsers, crawlers, mail clients and monitors ask
// for by themselves (/.well-known, /favicon.ico, /.DS_Store, /server-status, /actuator/health).
func probePaths() []string {
	return []string{
		// Secrets and code left in the web's folder.
		"/.env\x00", "/.env.", "/.env/", "/.env~", "/.env_", "/.git/", "/.git\x00", "/.gitconfig", "/.git-credentials",
		"/.gitlab-ci", "/.svn/", "/.hg/", "/.bzr/", "/.aws/", "/.ssh/", "/.docker/", "/.kube/", "/.azure/", "/.vscode/",
		"/.idea/", "/.htpasswd", "/.htaccess", "/.bash_history", "/.bashrc", "/.npmrc", "/.pypirc", "/.netrc", "/.pgpass",
		"/.mysql_history", "/.ftpconfig", "/.s3cfg", "/.dockerenv", "/.config/gcloud", "/id_rsa", "/id_ed25519",
		"/wp-config.", "/config.php.", "/config.php~", "/config.inc.php", "/configuration.php.", "/configuration.php-",
		"/appsettings.json", "/credentials.json", "/secrets.json", "/secrets.yml", "/sftp-config.json", "/database.yml",
		"/dump.sql", "/backup.sql", "/database.sql", "/db.sql", "/mysql.sql", "/docker-compose.y", "/parameters.yml",
		"/web.config\x00", "/aws.yml", "/debug/default/view",
		// Climbing out of it, and what is looked for there.
		"/../", "/..;/", "/..\x00", "/etc/passwd", "/etc/shadow", "/proc/self/", "/win.ini", "/boot.ini", "/bin/sh\x00", "/bin/bash\x00",
		"/winnt/system32", "/windows/system32",
		// Administration of databases and of sites.
		"/phpmyadmin", "/php-my-admin", "/phpmy-admin", "/_phpmyadmin", "/pma/", "/pma\x00", "/pma2", "/myadmin", "/mysqladmin",
		"/mysql-admin", "/mysqlmanager", "/sqladmin", "/sqlmanager", "/sqlitemanager", "/dbadmin", "/websql", "/phppgadmin",
		"/adminer.php", "/adminer-", "/setup.php", "/install.php", "/phpinfo", "/php_info", "/info.php\x00", "/i.php\x00",
		"/wp-login.php", "/xmlrpc.php", "/wlwmanifest.xml", "/wp-admin/setup-config.php", "/wp-content/plugins/wp-file-manager/",
		"/wp-json/wp/v2/users", "/roundcube\x00", "/roundcube/\x00", "/app_dev.php", "/_profiler/", "/_ignition/", "/telescope/requests", "/elfinder/",
		"/filemanager/dialog.php", "/admin/config.php",
		// Shells, and ways to a shell.
		"/cgi-bin/", "/eval-stdin.php", "/phpunit", "/shell.php", "/cmd.php", "/c99.php", "/r57.php", "/wso.php", "/alfa.php",
		"/webshell", "/up.php\x00", "/uploader.php\x00", "/thinkphp", "/index.php/think", "/think/app/",
		"/hello.world\x00", "/muieblackcat", "/w00tw00t",
		// Consoles of application servers.
		"/manager/html", "/host-manager/html", "/jmx-console", "/web-console/invoker", "/invoker/jmxinvoker", "/jolokia", "/wls-wsat/",
		"/_async/asyncresponseservice", "/console/login/loginform.jsp", "/ws_utc/", "/struts2-", "/solr/admin/",
		"/actuator\x00", "/actuator/env", "/actuator/heapdump", "/actuator/gateway", "/actuator/mappings", "/actuator/configprops",
		"/actuator/threaddump", "/actuator/logfile", "/actuator/trace", "/druid/index.html", "/nacos/", "/api/jsonws/invoke",
		"/geoserver/web", "/jenkins/script", "/containers/json", "/_cat/indices", "/v2/_catalog", "/swagger/v1/swagger.json",
		// Appliances and gateways.
		"/owa/auth/", "/ecp/current/", "/autodiscover/autodiscover.json", "/hnap1", "/goform/", "/boaform/", "/gponform/",
		"/setup.cgi", "/tmui/", "/vpns/", "/remote/fgt_lang", "/remote/logincheck", "/dana-na/", "/+cscoe+/", "/global-protect/",
		"/sslvpn", "/evox/about", "/sdk/weblanguage", "/currentsetting.htm", "/stalker_portal/", "/portal/redlion", "/onvif/device_service",
		"/level/15/exec", "/device.rsp", "/picsdesc.xml", "/tr064", "/ctrlt/deviceupgrade",
		// What scanners ask to know a server by its answer, and open proxies by theirs.
		"/nmaplowercheck", "/nice ports,/tri", "/trinity.txt", "/azenv.php", "/proxyheader", "/proxyjudge", "/judge.php",
	}
}

// scannerTools are words of user agents, in lower case: programs that look for weaknesses, and the
// beginnings of attacks that come by way of the agent.
func scannerTools() []string {
	return []string{
		"sqlmap", "nikto", "nmap", "masscan", "zgrab", "zmap", "gobuster", "dirbuster", "dirsearch", "feroxbuster", "ffuf",
		"fuzz faster u fool", "wfuzz", "wpscan", "joomscan", "droopescan", "cmsmap", "nuclei", "projectdiscovery", "openvas",
		"nessus", "acunetix", "netsparker", "invicti", "appscan", "webinspect", "w3af", "arachni", "skipfish", "wapiti",
		"grendel-scan", "whatweb", "webshag", "webscarab", "paros", "fimap", "havij", "commix", "sqlninja", "bsqlbf",
		"xsser", "xsstrike", "dalfox", "jaeles", "jndi-exploit", "zmeu", "morfeus", "muieblackcat", "jorgee", "thc-hydra",
		"(hydra)", "patator", "l9explore", "l9tcpid", "leakix", "libredtail-http", "sipvicious", "friendly-scanner", "nsauditor",
		"rustscan", "httpscan", "webvulnscan", "vuln-scanner", "vulnscan", "whatwaf", "wafw00f", "testssl", "sslscan", "dirb",
		"brutus/aet", "hello, world",
		"${jndi:", "${${", "() { :", "() {:", "<?php", "/bin/sh", "/bin/bash",
	}
}
