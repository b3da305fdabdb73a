package source

import (
	"errors"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
)

// connection is how a program of PostgreSQL reaches its server.
type connection struct {
	// pairs are the keywords and values of the connection string but for the password.
	pairs [][2]string
	env   map[string]string
}

// connect reads a reference to a connection string. The variables of libpq in this process's own
// environment (PGHOST and so on) are passed on. A password goes into the environment as well, which
// only the program's user and root can read; a command line is for everybody.
func connect(ref string) (connection, error) {
	c := connection{env: map[string]string{"PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "shivx"}}
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") {
			c.env[name] = value
		}
	}
	dsn, err := config.Resolve(ref)
	if err != nil {
		return c, err
	}
	all, err := parseDSN(dsn)
	if err != nil {
		return c, shivx.Hint(err, "write it as postgres://user:password@host:port/db or host=… user=…")
	}
	for _, p := range all {
		if p[0] == "password" {
			c.env["PGPASSWORD"] = p[1]
			continue
		}
		c.pairs = append(c.pairs, p)
	}
	return c, nil
}

// database returns the connection to another database of the server; to the same for "".
func (c connection) database(name string) connection {
	if name != "" {
		// The last of two values counts.
		c.pairs = append(slices.Clip(c.pairs), [2]string{"dbname", name})
	}
	return c
}

// args are the words that give a program the connection string.
func (c connection) args() []string {
	var words []string
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for _, p := range c.pairs {
		words = append(words, p[0]+"='"+quote.Replace(p[1])+"'")
	}
	if words == nil {
		return nil
	}
	return []string{"--dbname=" + strings.Join(words, " ")}
}

var errDSN = errors.New("dsn: this is no connection string of PostgreSQL")

// parseDSN reads a connection string in one of libpq's two forms. Errors do not quote it.
func parseDSN(dsn string) ([][2]string, error) {
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, ok := strings.CutPrefix(dsn, scheme); ok {
			return parseURI(rest)
		}
	}
	return parsePairs(dsn)
}

// parseURI reads user:password@host:port,host:port/database?key=value, each part of which may be missing.
func parseURI(rest string) ([][2]string, error) {
	rest, query, _ := strings.Cut(rest, "?")
	rest, database, _ := strings.Cut(rest, "/")
	user, hosts, found := strings.Cut(rest, "@")
	if !found {
		user, hosts = "", rest
	}
	user, password, _ := strings.Cut(user, ":")
	var names, ports []string
	for host := range strings.SplitSeq(hosts, ",") {
		port := ""
		if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
			host, port = host[:i], host[i+1:]
		}
		names, ports = append(names, strings.Trim(host, "[]")), append(ports, port)
	}
	all := [][2]string{
		{"user", user}, {"password", password}, {"host", strings.Join(names, ",")}, {"port", strings.Join(ports, ",")}, {"dbname", database},
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		all = append(all, [2]string{key, value})
	}
	var set [][2]string
	for _, p := range all {
		value, err := url.PathUnescape(p[1])
		if err != nil || p[0] == "" && value != "" || p[0] == "sslpassword" {
			return nil, errDSN
		}
		if strings.Trim(value, ",") != "" {
			set = append(set, [2]string{p[0], value})
		}
	}
	return set, nil
}

// pair is key = value or key = 'value', with backslashes before what stands for itself.
var pair = regexp.MustCompile(`^\s*([A-Za-z_]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?:\s+|$)`)

var escaped = regexp.MustCompile(`\\(.)`)

// parsePairs reads keywords with values.
func parsePairs(dsn string) ([][2]string, error) {
	var all [][2]string
	for rest := dsn; strings.TrimSpace(rest) != ""; {
		m := pair.FindStringSubmatch(rest)
		if m == nil || m[1] == "sslpassword" {
			return nil, errDSN
		}
		value := escaped.ReplaceAllString(strings.TrimSuffix(strings.TrimPrefix(m[2], "'"), "'"), "$1")
		all, rest = append(all, [2]string{m[1], value}), rest[len(m[0]):]
	}
	return all, nil
}
