package config

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// signKeyPattern is what 32 bytes look like in base64.
var signKeyPattern = regexp.MustCompile(`^[A-Za-z0-9+/]{43}=$`)

func checkSignKey(text, _ string) (string, string, string) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(key) == 32 && signKeyPattern.MatchString(text) {
		return text, "", ""
	}
	return text, "not a public key", "write the 44 characters that shivx golden list -o json shows as \"key\""
}

// recipientPattern is what a public key of age, or of SSH, looks like.
var recipientPattern = regexp.MustCompile(`^(age1[02-9ac-hj-np-z]{58}|age1[a-z0-9]{60,}|ssh-(ed25519|rsa) [A-Za-z0-9+/]+=*( .*)?)$`)

func checkRecipient(text, _ string) (string, string, string) {
	switch {
	case recipientPattern.MatchString(text):
		return text, "", ""
	case strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-"):
		return "", "this is a secret key, which must not stand here", "write the public key that age-keygen -y prints, and make a new pair: this one has been seen"
	}
	return text, "not a public key of age or SSH", "write what age-keygen -y prints, such as age1…, or a line of an SSH key's .pub file"
}

// cronFields are the five fields with the numbers and names that each may have.
var cronFields = []struct {
	name     string
	low, top int
	names    []string
}{
	{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"weekday", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

func checkCron(text, _ string) (string, string, string) {
	const form = "write five fields, minute hour day month weekday, such as \"0 3 * * *\", or off"
	if text == never {
		return text, "", ""
	}
	fields := strings.Fields(text)
	if len(fields) != len(cronFields) {
		return text, fmt.Sprintf("%q has %d fields, not five", masked(text), len(fields)), form
	}
	for i, f := range fields {
		for part := range strings.SplitSeq(f, ",") {
			if !cronPart(part, i) {
				c := cronFields[i]
				return text, fmt.Sprintf("%q is no %s", masked(part), c.name), fmt.Sprintf("the %s is between %d and %d; %s", c.name, c.low, c.top, form)
			}
		}
	}
	return strings.Join(fields, " "), "", ""
}

// cronPart says whether part, which has no comma, may stand in field i: *, 5, 1-5, mon-fri, */15, 0-30/10.
func cronPart(part string, i int) bool {
	span, step, stepped := strings.Cut(part, "/")
	if n, err := strconv.ParseUint(step, 10, 16); stepped && (err != nil || n == 0) {
		return false
	}
	if span == "*" {
		return true
	}
	from, to, isRange := strings.Cut(span, "-")
	a, ok := cronNumber(from, i)
	if !isRange {
		return ok
	}
	b, also := cronNumber(to, i)
	return ok && also && a <= b
}

func cronNumber(text string, i int) (int, bool) {
	c := cronFields[i]
	if at := slices.Index(c.names, strings.ToLower(text)); at >= 0 {
		return at + c.low, true
	}
	n, err := strconv.ParseUint(text, 10, 8)
	return int(n), err == nil && int(n) >= c.low && int(n) <= c.top
}

func checkTimeZone(text, _ string) (string, string, string) {
	if _, err := time.LoadLocation(text); err != nil || text == "Local" {
		return text, fmt.Sprintf("%q is no time zone", masked(text)), "write it as Europe/Berlin, or UTC"
	}
	return text, "", ""
}

// globOf is a glob pattern that matches path alone.
func globOf(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`).Replace(path)
}
