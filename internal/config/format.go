package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/shivx/shivx"
)

// namePattern is what a name looks like. It has neither "@" nor "/": names stand in workflow ids.
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

var (
	sha256Pattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	keyValueDSN   = regexp.MustCompile(`^\s*(\w+\s*=\s*('(\\.|[^'\\])*'|[^\s']*)\s*)+$`)
)

// formats check a text by the name of its format. They return the text as it is used (a path is made
// absolute against dir), what is wrong with it ("" if nothing) and a hint. Messages never repeat a
// text that may hold a password.
var formats = map[string]func(text, dir string) (fixed, message, hint string){
	"name":     checkName,
	"nameglob": checkNameGlob,
	"path":     checkPath,
	"sha256":   checkSHA256,
	"url":      checkURL,
	"origin":   checkOrigin,
	"address":  checkAddress,
	"listen":   checkListen,
	"dsn":      checkDSN,
	"unit":     checkUnit,
	"relglob":  checkRelativeGlob,
	"absglob":  checkAbsoluteGlob,
	"source":   checkSource,

	"signkey":   checkSignKey,
	"recipient": checkRecipient,
	"cron":      checkCron,
	"timezone":  checkTimeZone,
	"clock":     checkClock,
	"metric":    checkMetric,
	"below":     checkBelow,
}

func checkName(text, _ string) (string, string, string) {
	if namePattern.MatchString(text) {
		return text, "", ""
	}
	hint := "use a–z, 0–9, \".\", \"_\" and \"-\", at most 63, the first a letter or digit"
	if fixed := fixName(text); namePattern.MatchString(fixed) {
		hint = fmt.Sprintf("write %q: %s", fixed, hint)
	}
	return text, fmt.Sprintf("%q is not a name", text), hint
}

// CheckName says what is wrong with a name that does not come from the file.
func CheckName(name string) error {
	name = name[:min(len(name), 100)] // it is quoted, and too long at 64
	_, message, hint := checkName(name, "")
	if message == "" {
		return nil
	}
	return shivx.Hint(errors.New(message), hint)
}

// nameGlobPattern is what a pattern of names looks like.
var nameGlobPattern = regexp.MustCompile(`^[a-z0-9*?][a-z0-9._*?-]{0,62}$`)

func checkNameGlob(text, _ string) (string, string, string) {
	if nameGlobPattern.MatchString(text) {
		return text, "", ""
	}
	return text, fmt.Sprintf("%q is neither a name nor a pattern of names", text),
		"use a–z, 0–9, \".\", \"_\" and \"-\", \"*\" for any characters and \"?\" for any one, at most 63"
}

// MatchName says whether a pattern of names has a name; "*" stands for any characters, "?" for any one.
func MatchName(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil && !strings.Contains(name, "/")
}

var notInNames = regexp.MustCompile(`[^a-z0-9._-]+`)

func fixName(text string) string {
	return strings.Trim(notInNames.ReplaceAllString(strings.ToLower(text), "-"), "-._")
}

func checkPath(text, dir string) (string, string, string) {
	if text == "~" || strings.HasPrefix(text, "~/") {
		return text, "\"~\" is not expanded", "write the whole path"
	}
	if !filepath.IsAbs(text) {
		text = filepath.Join(dir, text)
	}
	return filepath.Clean(text), "", ""
}

func checkSHA256(text, _ string) (string, string, string) {
	if sha256Pattern.MatchString(text) {
		return strings.ToLower(text), "", ""
	}
	return text, "not a SHA-256", fmt.Sprintf("write the 64 hexadecimal digits that sha256sum FILE prints; this has %d characters", len([]rune(text)))
}

func checkURL(text, _ string) (string, string, string) {
	const form = "write http://HOST[:PORT]/PATH or https://…"
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return text, "not a valid URL", form
	case u.Scheme != "http" && u.Scheme != "https":
		return text, "a URL must begin with http:// or https://", form
	case u.Hostname() == "":
		return text, "the URL has no host", form
	case u.Port() != "" && !isPort(u.Port(), 1):
		return text, "the URL's port is not between 1 and 65535", form
	}
	return text, "", ""
}

func checkOrigin(text, dir string) (string, string, string) {
	const form = "write https://HOST[:PORT]"
	if _, message, _ := checkURL(text, dir); message != "" {
		return text, message, form
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return text, "the URL has more than a scheme, a host and a port", form
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), "", ""
}

func checkAddress(text, _ string) (string, string, string) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return text, "the socket's path is not absolute", "write unix:/run/NAME.sock"
		}
		return text, "", ""
	}
	host, err := hostPort(text, 1)
	if err == nil && host == "" {
		err = errors.New("the address has no host")
	}
	if err != nil {
		return text, err.Error(), "write HOST:PORT, such as 127.0.0.1:6379"
	}
	return text, "", ""
}

var unitPattern = regexp.MustCompile(`^[^/\s]+\.(service|socket|target|timer|mount|automount|path|slice|scope|swap|device)$`)

func checkUnit(text, _ string) (string, string, string) {
	if unitPattern.MatchString(text) {
		return text, "", ""
	}
	return text, fmt.Sprintf("%q is not the full name of a unit", text), "write NAME.service, as systemctl list-units prints it"
}

func checkListen(text, _ string) (string, string, string) {
	if text == "off" {
		return text, "", ""
	}
	if _, err := hostPort(text, 0); err != nil {
		return text, err.Error(), "write HOST:PORT, such as 127.0.0.1:9470, or off"
	}
	return text, "", ""
}

// hostPort splits an address; lowest is the lowest port allowed.
func hostPort(text string, lowest int) (host string, err error) {
	host, port, err := net.SplitHostPort(text)
	switch {
	case strings.ContainsAny(text, "/@ "):
		return "", errors.New("not an address: it has a scheme, a user, a path or a space")
	case err != nil && !strings.Contains(text, ":"):
		return "", errors.New("the address has no port")
	case err != nil:
		return "", errors.New("not an address")
	case !isPort(port, lowest):
		return "", fmt.Errorf("the port is not between %d and 65535", lowest)
	}
	return host, nil
}

func isPort(text string, lowest int) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && int(port) >= lowest
}

func checkDSN(text, _ string) (string, string, string) {
	const form = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, \"host=… dbname=…\", env:NAME or file:PATH"
	if !strings.Contains(text, "://") {
		if keyValueDSN.MatchString(text) {
			return text, "", ""
		}
		return text, "not a connection string of PostgreSQL", form
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return text, "not a valid URL", form + "; in a password write @ as %40, / as %2F, # as %23"
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return text, "the URL must begin with postgresql:// or postgres://", form
	case u.Port() != "" && !isPort(u.Port(), 1):
		return text, "the URL's port is not between 1 and 65535", form
	}
	return text, "", ""
}

func checkGlob(text string) (message, hint string) {
	if doublestar.ValidatePattern(text) {
		return "", ""
	}
	return fmt.Sprintf("%q is not a valid glob pattern", text), "each [ and { needs its ] and }; put \\ before a character that is meant itself"
}

func checkRelativeGlob(text, _ string) (string, string, string) {
	message, hint := checkGlob(text)
	if message == "" && strings.HasPrefix(text, "/") {
		message, hint = fmt.Sprintf("%q is matched below each path and must not begin with /", text), "write **/NAME, or a path relative to the folder"
	}
	return text, message, hint
}

func checkAbsoluteGlob(text, _ string) (string, string, string) {
	message, hint := checkGlob(text)
	if message == "" && !strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "**") && !strings.HasPrefix(text, "{") {
		message = fmt.Sprintf("%q never matches, for it is compared with absolute paths", text)
		hint = fmt.Sprintf("write %q", "**/"+strings.TrimPrefix(text, "./"))
	}
	return text, message, hint
}

func checkSource(text, _ string) (string, string, string) {
	p, err := shivx.ParseSource(text)
	if err != nil {
		return text, err.Error(), shivx.HintOf(err)
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Is6() && !a.Is4In6() {
		p = netip.PrefixFrom(a.WithZone(""), 128) // an address that is named is that one alone, not its /64
	}
	if p.Addr().Is6() {
		return p.String(), "", "" // with its /128, for without it the address would stand for its /64
	}
	return shivx.SourceString(p), "", ""
}
