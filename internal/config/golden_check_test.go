package config

import (
	"testing"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGoldenDefaults(t *testing.T) {
	cfg, err := Parse("/etc/shivx/shivx.yaml", []byte("version: 1\nhost: h\npaths: {var: \"/var/lib/[a] shivx\"}\n"), Known{})
	require.NoError(t, err)
	assert.Equal(t, "/var/lib/[a] shivx/golden", cfg.Golden.Store.Path)
	assert.Nil(t, cfg.Golden.Store.S3)
	assert.Nil(t, cfg.Golden.Encryption)
	system, ok := cfg.GoldenSet("system")
	require.True(t, ok)
	assert.Equal(t, []string{"/etc/shivx"}, system.Paths)
	assert.True(t, system.States && system.Ledgers)
	assert.Equal(t, Approval{Required: 1, TTL: 15 * time.Minute, Default: "deny"}, system.Approval)
	assert.Equal(t, "off", system.Schedule.Backup, "nothing starts by itself that nobody asked for")
	assert.Equal(t, "off", system.Schedule.Verify)
	matched, err := doublestar.Match(system.Exclude[0], "/var/lib/[a] shivx/golden/golden.json")
	require.NoError(t, err)
	assert.True(t, matched, "the store is in no backup of itself: %s", system.Exclude)
	for path, own := range map[string]bool{"api.token": true, "golden": true, "recovery/golden/signing.key": true, "demo/visits": false} {
		matched, err := doublestar.Match(system.Exclude[0], "/var/lib/[a] shivx/"+path)
		require.NoError(t, err)
		assert.Equal(t, own, matched, "%s: a component may keep its state beside ours", path)
	}
	_, ok = cfg.GoldenSet("shop")
	assert.False(t, ok)
}

func TestServicesOfASetWithStates(t *testing.T) {
	const src = "version: 1\nhost: h\ncomponents:\n" +
		"  - {name: web, checks: [{tcp: {address: \"127.0.0.1:1\"}}], depends_on: [db], state: {paths: [/srv/web]}, ladder: [{use: script, with: {recover: [/bin/true]}}]}\n" +
		"  - {name: db, checks: [{tcp: {address: \"127.0.0.1:2\"}}], state: {paths: [/srv/db]}, ladder: [{use: script, with: {recover: [/bin/true]}}]}\n" +
		"  - {name: proxy, checks: [{tcp: {address: \"127.0.0.1:3\"}}], ladder: [{use: script, with: {recover: [/bin/true]}}]}\n"
	cfg, err := Parse("/etc/shivx/shivx.yaml", []byte(src), testKnown)
	require.NoError(t, err)
	system, _ := cfg.GoldenSet("system")
	assert.Equal(t, []string{"db", "web"}, system.Services, "who has the files open is stopped")
	cfg, err = Parse("/etc/shivx/shivx.yaml", []byte(src+"golden: {sets: [{name: a, states: true, services: []}, {name: b, paths: [x]}]}\n"), testKnown)
	require.NoError(t, err)
	assert.Empty(t, cfg.Golden.Sets[0].Services)
	assert.Empty(t, cfg.Golden.Sets[1].Services)
}

func TestGoldenSetsReplaceTheDefaultOne(t *testing.T) {
	const src = "version: 1\nhost: h\ngolden:\n  store: {s3: {endpoint: \"https://s3.example.org\", bucket: b, access_key: env:A, secret_key: env:B}}\n" +
		"  sets:\n    - {name: a, paths: [x], schedule: {backup: \"0  3 * * *\"}}\n    - {name: b, paths: [x], approval: {required: 0}, schedule: {backup: \"0 3 * * *\", verify: \"off\"}}\n"
	cfg, err := Parse("/etc/shivx/shivx.yaml", []byte(src), Known{})
	require.NoError(t, err)
	assert.Empty(t, cfg.Golden.Store.Path)
	require.Len(t, cfg.Golden.Sets, 2)
	a, b := cfg.Golden.Sets[0], cfg.Golden.Sets[1]
	assert.Equal(t, "/etc/shivx/x", a.Paths[0])
	assert.Equal(t, 1, a.Approval.Required, "a restore is approved unless the file says that it need not")
	assert.Zero(t, b.Approval.Required)
	assert.Equal(t, "0 3 * * *", a.Schedule.Backup)
	assert.Equal(t, weekly, a.Schedule.Verify)
	assert.Equal(t, "off", b.Schedule.Verify)
}

func TestGoldenSourcesKnowTheirKind(t *testing.T) {
	shop := loadFull(t).Golden.Sets[0]
	var kinds []string
	for _, s := range shop.Sources {
		kinds = append(kinds, s.Kind())
	}
	assert.Equal(t, []string{"sqlite", "postgres", "postgres", "redis", "command"}, kinds)
	assert.Equal(t, "base", shop.Sources[1].Postgres.Method)
	assert.Equal(t, 30*time.Minute, shop.Sources[1].Timeout)
	assert.Empty(t, GoldenSource{}.Kind())

	cfg, err := Parse("/etc/shivx/shivx.yaml", []byte("version: 1\nhost: h\ngolden: {sets: [{name: s, sources: [{name: p, postgres: {method: dump}}]}]}\n"), Known{})
	require.NoError(t, err)
	assert.Equal(t, "/etc/shivx/var/dumps/s/p", cfg.Golden.Sets[0].Sources[0].Postgres.DumpDirectory)
}

func TestCron(t *testing.T) {
	for _, text := range []string{"0 3 * * *", "*/15 * * * *", "0-30/10 1,13 1-15 jan-mar,12 MON-fri", "59 23 31 12 7", "off"} {
		fixed, message, _ := checkCron(text, "")
		assert.Empty(t, message, text)
		assert.Equal(t, text, fixed)
	}
	for _, text := range []string{"", "0 3 * *", "0 3 * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
		"5-1 * * * *", "1- * * * *", "-1 * * * *", "*/x * * * *", "1,,2 * * * *", "mon * * * *", "@daily", "* * * * mon#1"} {
		_, message, hint := checkCron(text, "")
		assert.NotEmpty(t, message, text)
		assert.NotEmpty(t, hint, text)
	}
}
