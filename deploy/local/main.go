// Command shivx-local runs everything on one machine in one process: an embedded Temporal
// server with its Web UI on a SQLite file, the agent, and the demo service it keeps alive.
//
// What is under way when it is stopped or killed goes on when it is started again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/telemetry"
	"github.com/shivx/shivx/worker/agent"
)

type options struct {
	config     string
	dir        string
	port       int
	uiPort     int
	serverOnly bool
	demo       string
}

func main() {
	var o options
	flag.StringVar(&o.config, "config", "shivx.yaml", "configuration of the agent")
	flag.StringVar(&o.dir, "dir", "", "folder of the Temporal database; default: temporal below the configured var folder")
	flag.IntVar(&o.port, "port", 7233, "port of the Temporal server")
	flag.IntVar(&o.uiPort, "ui-port", 8233, "port of the Temporal Web UI; 0: none")
	flag.BoolVar(&o.serverOnly, "server-only", false, "run the Temporal server alone, without the agent; needs -dir")
	flag.StringVar(&o.demo, "demo", "", "program of the demo service, started when it does not run")
	flag.Parse()
	log := agent.NewLogger(os.Stderr)
	slog.SetDefault(log)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, o, log); err != nil {
		log.Error(err.Error(), "hint", shivx.HintOf(err))
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, log *slog.Logger) error {
	started := time.Now()
	var cfg *config.Config
	if !o.serverOnly {
		var err error
		if cfg, err = agent.Load(o.config, os.Stderr); err != nil {
			return err
		}
		if o.dir == "" {
			o.dir = filepath.Join(cfg.Paths.Var, "temporal")
		}
	}
	if o.dir == "" {
		return shivx.Hint(errors.New("where is the database to be?"), "give -dir")
	}
	unlock, err := lock(o.dir)
	if err != nil {
		return err
	}
	defer unlock()

	figures := telemetry.New()
	s, c, err := startServer(ctx, o, figures, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := s.stop(); err != nil {
			log.Error(err.Error())
		}
	}()
	defer c.Close()
	if o.uiPort != 0 {
		ui, err := newUI(s.address, o.uiPort)
		if err != nil {
			return err
		}
		go func() {
			if err := ui.Start(); err != nil && ctx.Err() == nil {
				log.Error("the Temporal UI stopped", "error", err)
			}
		}()
		defer ui.Stop()
	}
	log.Info("Temporal is up", "address", s.address, "took", time.Since(started).Round(time.Millisecond))
	if o.serverOnly {
		<-ctx.Done()
		return nil
	}
	return runAgent(ctx, o, cfg, c, figures, log)
}

// startServer starts the Temporal server and returns when it answers.
func startServer(ctx context.Context, o options, figures *telemetry.Telemetry, log *slog.Logger) (*server, client.Client, error) {
	s, err := newServer(o.dir, o.port, log)
	if err != nil {
		return nil, nil, err
	}
	if err := s.start(); err != nil {
		return nil, nil, err
	}
	c, err := client.NewLazyClient(client.Options{HostPort: s.address, MetricsHandler: figures.SDK(), Logger: sdklog.NewStructuredLogger(agent.Quiet(log))})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make the Temporal client: %w", err), s.stop())
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.ready(ctx, c); err != nil {
		c.Close()
		return nil, nil, errors.Join(err, s.stop())
	}
	return s, c, nil
}

// runAgent runs the agent, and the demo service beside it, until ctx ends.
func runAgent(ctx context.Context, o options, cfg *config.Config, c client.Client, figures *telemetry.Telemetry, log *slog.Logger) error {
	a, err := agent.New(cfg, c, agent.Options{Namespace: client.DefaultNamespace, Logger: log, Telemetry: figures}) //nolint:contextcheck // the ledger outlives ctx to sign its last head
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	if o.demo != "" {
		d := demoService{program: o.demo, dir: filepath.Join(cfg.Paths.Var, "demo"), log: log}
		if err := d.start(); err != nil {
			return err
		}
		defer d.stop()
	}
	group.Go(func() error { return a.Run(ctx) })
	welcome(o, cfg, a.LoginLink())
	err = group.Wait()
	if err == nil {
		log.Info("the agent has stopped; what was under way goes on at the next start")
	}
	return err
}

// welcome tells a new user what to look at and what to try.
func welcome(o options, cfg *config.Config, login string) {
	pid := filepath.Join(cfg.Paths.Var, "demo", "demo.pid")
	about := "this link signs you in once; bin/shivx login makes another"
	if login == "" {
		login, about = "not there", "the log above says why; bin/shivx login makes a link once it is"
	}
	up, kill, heal, backup := "It watches over the host "+cfg.Host+".", "", "", ""
	if _, known := cfg.Component("demo"); known && o.demo != "" {
		up = "It keeps the demo service on http://127.0.0.1:9471 alive."
		kill = try("kill -9 $(cat "+relative(pid)+")", "kill the demo service")
		heal = try("bin/shivx heal demo --plan", "see what a heal would do")
	}
	if _, known := cfg.GoldenSet("demo"); known {
		backup = try("bin/shivx golden backup demo", "store its state; golden restore demo brings it back")
	}
	fmt.Printf(`
  ShivX is up. %s

    Temporal UI   http://127.0.0.1:%d
    status page   %s
                  (%s)

  In another terminal:

%s%s%s%s%s%s
  Ctrl-C stops everything; what is under way goes on at the next start.

`, up, o.uiPort, login, about, kill, try("bin/shivx runs", "see the runs, such as one that healed it"), heal, backup,
		try("bin/shivx status --explain", "see how the host is, and why"), try("bin/shivx ledger verify", "prove what was done"))
}

// try is one line of what a new user may try.
func try(command, what string) string { return fmt.Sprintf("    %-36s %s\n", command, what) }

func relative(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil {
		return rel
	}
	return path
}

// lock keeps a second process away from the database: SQLite would let it in.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the database's folder: %w", err)
	}
	l := flock.New(filepath.Join(dir, "lock"))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if !ok {
		return nil, shivx.Hint(fmt.Errorf("another shivx-local uses %s", dir), "stop it, or give another -dir and -port")
	}
	return func() { _ = l.Unlock() }, nil
}
