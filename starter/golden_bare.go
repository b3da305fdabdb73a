package main

import (
	"crypto/ed25519"
	"encoding/base64"
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
	// trust are further keys; they are for a store of a configuration, too.
	trust []string
}

// bareVar is the folder for journals where none is named.
const bareVar = "var"

// flags adds the flags of a store without a configuration.
func (b *bareStore) flags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&b.store, "store", "", "use the store in this folder and no configuration, as on a machine that has lost all")
	fl.StringVar(&b.identity, "identity", "", "with --store: the file with the age identity that opens it")
	fl.StringVar(&b.host, "host", "", "with --store: the host whose goldens are meant; needed when it holds those of several")
	fl.StringVar(&b.vars, "var", bareVar, "with --store: the folder for journals and the record of what is done")
	fl.StringArrayVar(&b.trust, "trust", nil, trustUsage)
}

// check refuses keys that are none, and flags that need --store.
func (b *bareStore) check() error {
	for _, key := range b.trust {
		if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != ed25519.PublicKeySize {
			return hint(usagef("--trust %s is no public key, which has 44 characters of base64", key), "shivx golden list shows the keys that signed what is stored")
		}
	}
	if b.store != "" {
		return nil
	}
	for _, f := range [][2]string{{"identity", b.identity}, {"host", b.host}} {
		if f[1] != "" {
			return hint(usagef("--%s is for a store without a configuration", f[0]), "name it with --store DIR, or leave it out")
		}
	}
	return nil
}

// config makes up the configuration of a host of which nothing is left but a store: it has the sets that the
// store has goldens of, without services.
func (b *bareStore) config(cmd *cobra.Command, args []string, log *slog.Logger) (*config.Config, error) {
	if b.host == "" && len(args) > 0 {
		name, _, _ := strings.Cut(args[0], "/")
		_, b.host, _ = strings.Cut(name, "@")
	}
	cfg := &config.Config{Host: b.host}
	cfg.Golden.TrustedKeys = b.trust
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
	e, err := engine.Configured(cfg, log, engine.Unpinned)
	if err != nil {
		return nil, err
	}
	all, err := e.List(cmd.Context(), "")
	if err != nil && cmd.Name() == "scrub" { // which may be there to repair it
		return cfg, nil
	}
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, hint(usagef("%s holds no golden", cfg.Golden.Store.Path), "name the folder with the file golden.json")
	}
	if err := b.fill(cfg, all, cmd.Name() != "list" && cmd.Name() != "scrub"); err != nil {
		return nil, err
	}
	b.host = cfg.Host // which the commands name that are told of later
	return cfg, nil
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
