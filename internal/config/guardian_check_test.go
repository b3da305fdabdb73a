package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGuardianListsReplaceTheirDefaults(t *testing.T) {
	cfg, err := Parse("shivx.yaml", []byte("version: 1\nhost: h\n"), Known{})
	require.NoError(t, err)
	assert.Equal(t, defaultTerms(), cfg.Guardian.Terms)
	assert.Equal(t, []string{"127.0.0.0/8", "::1/128"}, cfg.Guardian.Syslog.From)
	assert.Equal(t, []string{"sshd"}, cfg.Guardian.Syslog.Formats)

	cfg, err = Parse("shivx.yaml", []byte("version: 1\nhost: h\nguardian: {terms: [5m], syslog: {listen: \":514\", from: [192.0.2.1], formats: [pam]}}\n"), Known{})
	require.NoError(t, err)
	assert.Equal(t, []time.Duration{5 * time.Minute}, cfg.Guardian.Terms)
	assert.Equal(t, []string{"192.0.2.1"}, cfg.Guardian.Syslog.From)
	assert.Equal(t, []string{"pam"}, cfg.Guardian.Syslog.Formats)
}

// TestSources: one IPv6 address that is named stays one, however often the text is read again.
func TestSources(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "192.0.2.7/32": "192.0.2.7", "192.0.2.7/24": "192.0.2.0/24",
		"::ffff:192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7/120": "192.0.2.0/24",
		"2001:DB8::1": "2001:db8::1/128", "2001:db8::1/128": "2001:db8::1/128", "2001:db8::1/64": "2001:db8::/64",
		"fe80::1%eth0": "fe80::1/128",
	} {
		fixed, message, _ := checkSource(text, "")
		assert.Empty(t, message, text)
		assert.Equal(t, want, fixed, text)
		again, _, _ := checkSource(fixed, "")
		assert.Equal(t, fixed, again, text)
	}
	for _, text := range []string{"example.org", "192.0.2.0/33", "192.0.2", "*", "192.0.2.1-5"} {
		_, message, hint := checkSource(text, "")
		assert.NotEmpty(t, message, text)
		assert.NotEmpty(t, hint, text)
	}
}

// TestAccountsAreLookedForByLoadAlone: a text can be checked on another machine than it is for.
func TestAccountsAreLookedForByLoadAlone(t *testing.T) {
	src := "version: 1\nhost: h\nguardian: {budgets: [{name: a, user: no-such-account-here, cpu: 50}]}\n"
	cfg, err := Parse("shivx.yaml", []byte(src), Known{})
	require.NoError(t, err)
	assert.Equal(t, "no-such-account-here", cfg.Guardian.Budgets[0].User)
}
