package config

import (
	"regexp"
	"strings"
)

var (
	// userInfo is what stands before the "@" of a URL, also of one that is mistyped.
	userInfo = regexp.MustCompile(`(?:^\s*|[:/"'])([^\s"',]*)@`)
	// noPort is what stands where a URL has its port and is none: perhaps a password whose "@" is missing.
	noPort = regexp.MustCompile(`/[^\s"',/:]*:([^\s"',/]*[^\s"',/\d][^\s"',]*)`)
	// harmlessURL has no place for a password.
	harmlessURL = regexp.MustCompile(`^[\w+.-]*(:/+)?[\w.-]*(:\d*)?(/[^@:]*)?$`)
	// words of a line; their letters are compared with secretWords.
	wordPattern = regexp.MustCompile(`[\pL_-]+`)
)

// secretWords are what keys of secrets are called.
var secretWords = []string{"password", "passwd", "passphrase", "pwd", "secret", "token", "dsn", "apikey", "accesskey", "credential", "identity", "authorization"}

// maskSecrets hides what looks like a secret in a source line; the line keeps its length.
// It rather hides too much, for the line may be mistyped.
func maskSecrets(line []rune) []rune {
	text := string(line)
	hide := make([]bool, len(text))
	for _, pattern := range []*regexp.Regexp{userInfo, noPort} {
		for _, m := range pattern.FindAllStringSubmatchIndex(text, -1) {
			mask(hide[m[2]:m[3]])
		}
	}
	if at := secretFrom(text); at >= 0 {
		mask(hide[at:])
	}
	out := make([]rune, 0, len(line))
	for i, r := range text {
		if hide[i] {
			r = '*'
		}
		out = append(out, r)
	}
	return out
}

func mask(hide []bool) {
	for i := range hide {
		hide[i] = true
	}
}

// secretFrom returns where the value of the first secret in text begins, or -1. A value that is a
// reference is none.
func secretFrom(text string) int {
	words := wordPattern.FindAllStringIndex(text, -1)
	for i, w := range words {
		joined, end := text[w[0]:w[1]], w[1]
		if !soundsSecret(joined) && i+1 < len(words) && words[i+1][0]-end <= 2 {
			end = words[i+1][1]
			joined += text[words[i+1][0]:end]
		}
		if !soundsSecret(joined) {
			continue
		}
		if rest := strings.TrimLeft(text[end:], ":=\"' \t"); !isReference(rest) {
			return len(text) - len(rest)
		}
	}
	return -1
}

// masked is maskSecrets for a part of a line.
func masked(text string) string { return string(maskSecrets([]rune(text))) }

// soundsSecret says whether a word is, contains or nearly is one for a secret.
func soundsSecret(word string) bool {
	word = fold(word)
	for _, s := range secretWords {
		if strings.Contains(word, s) || len(word) > 1 && distance(word, s) <= len(s)/3 {
			return true
		}
	}
	return false
}
