// Command shivx-worker is the host agent: it senses, records and acts on one host.
//
// Where Temporal is comes from the environment or Temporal's profile file (TEMPORAL_ADDRESS,
// TEMPORAL_NAMESPACE, TEMPORAL_PROFILE, TEMPORAL_TLS_…, TEMPORAL_API_KEY). The agent starts and
// senses also while Temporal is away.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	sdklog "go.temporal.io/sdk/log"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/telemetry"
	"github.com/shivx/shivx/worker/agent"
)

// Exit codes.
const (
	exitFailure = 1
	exitConfig  = 2
)

func main() {
	os.Exit(run())
}

func run() int {
	path := flag.String("config", "/etc/shivx/shivx.yaml", "configuration file")
	flag.Parse()
	log := agent.NewLogger(os.Stderr)
	slog.SetDefault(log)
	supervisor := agent.NewSupervisor(log)

	cfg, err := agent.Load(*path, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "shivx-worker:", err)
		return exitConfig
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, cfg, supervisor, log); err != nil {
		log.Error("the agent stopped", "error", err, "hint", shivx.HintOf(err))
		return exitFailure
	}
	return 0
}

func serve(ctx context.Context, cfg *config.Config, supervisor *agent.Supervisor, log *slog.Logger) error {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return fmt.Errorf("read Temporal's client configuration: %w", err)
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	figures := telemetry.New()
	options.MetricsHandler = figures.SDK()
	options.Logger = sdklog.NewStructuredLogger(agent.Quiet(log))
	c, err := client.NewLazyClient(agent.Reconnecting(options))
	if err != nil {
		return fmt.Errorf("make the Temporal client: %w", err)
	}
	defer c.Close()
	a, err := agent.New(cfg, c, agent.Options{Namespace: options.Namespace, Logger: log, Telemetry: figures, Supervisor: supervisor}) //nolint:contextcheck // the ledger outlives ctx to sign its last head
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
