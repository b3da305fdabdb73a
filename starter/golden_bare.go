package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx/internal/config"
	engine "github.com/shivx/shivx/internal/golden"
)

const trustUsage = "believe goldens signed by this public key as well, base64"

// How long a step may take where no configuration says.
const (
	bareTimeout        = 24 * time.Hour
	bareServiceTimeout = 2 * time.Minute
)

// bareStore is how a store is read on a machine that has nothing else.
type bareStore struct {
	store, identity, host, vars string
}

// flags adds the flags of a store without a configuration.
func (b *bareStore) flags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&b.store, "store", "", "use the store in this folder and no configuration, as on a machine that has lost all")
	fl.StringVar(&b.identity, "identity", "", "with --store: the file with the age identity that opens it")
	fl.StringVar(&b.host, "host", "", "with --store: the host whose goldens are meant; needed when it holds those of several")
	fl.StringVar(&b.vars, "var", "var", "with --store: the folder for journals and the record of what is done")
	if fl.Lookup("trust") == nil {
		fl.StringSlice("trust", nil, trustUsage)
	}
}

// config makes up the configuration of a host of which nothing is left but a store: it has the sets that the
// store has goldens of, without services.
func (b *bareStore) config(cmd *cobra.Command, trust []string, log *slog.Logger) (*config.Config, error) {
	cfg := &config.Config{Host: b.host}
	cfg.Golden.TrustedKeys = trust
	var err error
	if cfg.Paths.Var, err = filepath.Abs(b.vars); err != nil {
		return nil, err
	}
	if cfg.Golden.Store.Path, err = filepath.Abs(b.store); err != nil {
		return nil, err
	}
	if b.identity != "" {
		path, err := filepath.Abs(b.identity)
		if err != nil {
			return nil, err
		}
		cfg.Golden.Encryption = &config.GoldenEncryption{Identity: "file:" + path}
	}
	e, err := engine.Configured(cfg, log)
	if err != nil {
		return nil, err
	}
	all, err := e.List(cmd.Context(), "")
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, hint(usagef("%s holds no golden", cfg.Golden.Store.Path), "name the folder with the file golden.json")
	}
	return cfg, b.fill(cfg, all, cmd.Name() != "list" && cmd.Name() != "scrub")
}

// fill adds the host, which not every command needs, and the sets.
func (*bareStore) fill(cfg *config.Config, all []engine.Listed, needHost bool) error {
	var hosts []string
	for _, g := range all {
		if g.Host != "" && !slices.Contains(hosts, g.Host) {
			hosts = append(hosts, g.Host)
		}
		if _, known := cfg.GoldenSet(g.Set); !known {
			cfg.Golden.Sets = append(cfg.Golden.Sets, config.GoldenSet{Name: g.Set, Timeout: bareTimeout, ServiceTimeout: bareServiceTimeout})
		}
	}
	slices.Sort(hosts)
	switch {
	case cfg.Host != "" && !slices.Contains(hosts, cfg.Host):
		return hint(usagef("the store has no golden of %s", cfg.Host), fmt.Sprintf("it has those of: %s", strings.Join(hosts, ", ")))
	case cfg.Host == "" && len(hosts) == 1:
		cfg.Host = hosts[0]
	case cfg.Host == "" && needHost && len(hosts) > 1:
		return hint(usagef("the store has goldens of %d hosts: %s", len(hosts), strings.Join(hosts, ", ")), "name one: --host "+hosts[0])
	}
	return nil
}
