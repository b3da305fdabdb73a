// Package e2e_test heals real services through the product alone: a configuration file goes in,
// faults are made by signals and damaged files, and what came of it is read from the ledger, from
// Temporal and from the services themselves, asked by their own protocols.
//
// `make e2e` runs it. One scenario: go test ./test/e2e -run TestHeals/redis-killed -v
package e2e_test

import (
	"flag"
	"os"
	"testing"

	"github.com/shivx/shivx/test/stand"
)

// parallel is how many scenarios run at once; most of a scenario is waiting.
const parallel = "3"

// TestMain also plays the plugins that misbehave, a program that sends heartbeats, a till, and what grows.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case "plugin":
			misbehave(os.Args[2])
			return
		case "heartbeats":
			sendHeartbeats(os.Args[2])
			return
		case "till":
			playTill(os.Args[2])
			return
		case "grower":
			playGrower(os.Args[2])
			return
		}
	}
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", parallel); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// scenarios share one Temporal server; each has an agent with a host name and a queue of its own.
// Long ones come first, so that the suite does not end on them.
var scenarios = []struct {
	name string
	run  func(*testing.T, *stand.Server)
}{
	{"plugins-misbehave", pluginsMisbehave},
	{"temporal-away", temporalAway},
	{"bad-input", badInput},
	{"override-temporal-away", overrideTemporalAway},
	{"registers-itself", registersItself},
	{"override-agent-killed", overrideAgentKilled},
	{"dependencies-first", dependenciesFirst},
	{"haproxy-backend-over-and-back", haproxyBackendOverAndBack},
	{"haproxy-failover", haproxyFailover},
	{"redis-killed", redisKilled},
	{"redis-corrupted", redisCorrupted},
	{"nginx-broken-configuration", nginxBrokenConfiguration},
	{"postgresql-pool-exhausted", postgresqlPoolExhausted},
	{"alert-fires", alertFires},
	{"alert-resolves", alertResolves},
	{"by-hand", byHand},
	{"heartbeat-lost", heartbeatLost},
	{"override", overrideEndsByItself},
	{"approval", approval},
	{"pause", pause},
	{"abort", abort},
	{"plan", plan},
	{"restart-budget", restartBudget},
	{"ladder-used-up", ladderUsedUp},
	{"dies-again-at-once", diesAgainAtOnce},
}

func TestHeals(t *testing.T) {
	server := stand.NewServer(t)
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t, server)
		})
	}
}
