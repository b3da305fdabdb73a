package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/headers"
	temporallog "go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shivx/shivx"
)

const (
	localhost = "127.0.0.1"
	clusterID = "active"
	// retention of closed runs; the server's own default is a day.
	retention = 30 * 24 * time.Hour
)

// server is the embedded Temporal server on one SQLite file.
type server struct {
	temporal temporal.Server
	address  string
}

// newServer prepares the database and the server; it does not listen yet.
func newServer(dir string, port int, log *slog.Logger) (*server, error) {
	// The schema of a file is never migrated: another server version uses another file.
	db := filepath.Join(dir, "temporal-"+headers.ServerVersion+".db")
	if err := warnOfEmpty(dir, db, log); err != nil {
		return nil, err
	}
	cfg, err := serverConfig(db, port)
	if err != nil {
		return nil, err
	}
	if err := prepareDatabase(db, cfg); err != nil {
		return nil, err
	}
	if err := forgetMembers(cfg); err != nil {
		return nil, err
	}
	logger := temporallog.NewZapLogger(temporallog.BuildZapLogger(temporallog.Config{Level: "error", OutputFile: filepath.Join(dir, "temporal.log")}))
	s, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithDynamicConfigClient(dynamicConfig()),
	)
	if err != nil {
		return nil, fmt.Errorf("build the Temporal server: %w", err)
	}
	return &server{temporal: s, address: fmt.Sprintf("%s:%d", localhost, port)}, nil
}

func (s *server) start() error {
	if err := s.temporal.Start(); err != nil {
		return fmt.Errorf("start the Temporal server: %w", err)
	}
	return nil
}

func (s *server) stop() error {
	if err := s.temporal.Stop(); err != nil {
		return fmt.Errorf("stop the Temporal server: %w", err)
	}
	return nil
}

// dynamicConfig sets what the defaults, made for clusters, make slow on one machine. Numbers
// must be of Go's type int: others are ignored without a word.
func dynamicConfig() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		dynamicconfig.TransferProcessorMaxPollRPS.Key():   1000,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():      1000,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 1000,
		// Timers are looked at this late; the default makes each short one take a second.
		dynamicconfig.TimerProcessorMaxTimeShift.Key(): "20ms",
		// A notification that got lost must not stall a waiting client for 20 s.
		dynamicconfig.HistoryLongPollExpirationInterval.Key():       "2s",
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():      1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key():     1,
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
	}
}

// warnOfEmpty says so when an empty database takes the place of one that another version of the
// server has left.
func warnOfEmpty(dir, db string, log *slog.Logger) error {
	others, err := filepath.Glob(filepath.Join(dir, "temporal-*.db"))
	if err != nil {
		return fmt.Errorf("look for databases of other versions: %w", err)
	}
	if len(others) == 0 || slices.Contains(others, db) {
		return nil
	}
	log.Warn("this version of the Temporal server begins with an empty database: runs under way, their histories and maintenance flags of the old one are not taken over",
		"new", db, "old", others,
		"hint", "faults that still hold are found anew; put components into maintenance again; to go back, run the old version")
	return nil
}

// prepareDatabase makes the schema in a file of another name first, so that a crash in the
// middle leaves nothing that looks like a database.
func prepareDatabase(db string, cfg *config.Config) error {
	if _, err := os.Stat(db); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look for the database: %w", err)
	}
	fresh := db + ".new"
	for _, leftover := range []string{fresh, fresh + "-wal", fresh + "-shm"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove a half-made database: %w", err)
		}
	}
	store := *cfg.Persistence.DataStores[sqliteplugin.PluginName].SQL
	store.DatabaseName = fresh
	store.ConnectAttributes = map[string]string{"mode": "rwc"}
	if err := sqlite.SetupSchema(&store); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	attributes, err := searchAttributes()
	if err != nil {
		return err
	}
	ns, err := sqlite.NewNamespaceConfig(clusterID, client.DefaultNamespace, false, attributes)
	if err != nil {
		return fmt.Errorf("describe the namespace: %w", err)
	}
	ns.Detail.Config.Retention = durationpb.New(retention)
	if err := sqlite.CreateNamespaces(&store, ns); err != nil {
		return fmt.Errorf("make the namespace: %w", err)
	}
	if err := os.Rename(fresh, db); err != nil {
		return fmt.Errorf("put the database in place: %w", err)
	}
	return nil
}

// forgetMembers removes the services that the server's last process wrote down as members of its
// cluster. They are gone, for the folder is locked; a server that finds them tries to join them
// and for up to a minute hands out no task.
func forgetMembers(cfg *config.Config) error {
	db, err := sql.NewSQLAdminDB(sqlplugin.DbKindMain, cfg.Persistence.DataStores[sqliteplugin.PluginName].SQL,
		resolver.NewNoopResolver(), temporallog.NewNoopLogger(), metrics.NoopMetricsHandler)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if err := errors.Join(db.Exec("DELETE FROM cluster_membership"), db.Close()); err != nil {
		return fmt.Errorf("forget the services of the last start: %w", err)
	}
	return nil
}

func searchAttributes() (map[string]enumspb.IndexedValueType, error) {
	out := map[string]enumspb.IndexedValueType{}
	for _, want := range shivx.SearchAttributes() {
		kind, err := enumspb.IndexedValueTypeFromString(want.Type)
		if err != nil {
			return nil, fmt.Errorf("search attribute %s: %w", want.Name, err)
		}
		out[want.Name] = kind
	}
	return out, nil
}

func serverConfig(db string, port int) (*config.Config, error) {
	names := []string{"frontend", "history", "matching", "worker"}
	ports, err := freePorts(2*len(names), port)
	if err != nil {
		return nil, err
	}
	services := map[string]config.Service{}
	for i, name := range names {
		grpc := ports[2*i]
		if name == "frontend" {
			grpc = port
		}
		services[name] = config.Service{RPC: config.RPC{GRPCPort: grpc, MembershipPort: ports[2*i+1], BindOnIP: localhost}}
	}
	return &config.Config{
		Global: config.Global{Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: localhost}},
		Persistence: config.Persistence{
			DefaultStore: sqliteplugin.PluginName, VisibilityStore: sqliteplugin.PluginName, NumHistoryShards: 1,
			DataStores: map[string]config.DataStore{sqliteplugin.PluginName: {SQL: sqliteConfig(db)}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: clusterID, CurrentClusterName: clusterID,
			ClusterInformation: map[string]cluster.ClusterInformation{clusterID: {
				Enabled: true, InitialFailoverVersion: 1, RPCAddress: fmt.Sprintf("%s:%d", localhost, port)}},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            services,
		Archival: config.Archival{
			History: config.HistoryArchival{State: "disabled"}, Visibility: config.VisibilityArchival{State: "disabled"}},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"}}},
		PublicClient: config.PublicClient{HostPort: fmt.Sprintf("%s:%d", localhost, port)},
	}, nil
}

func sqliteConfig(db string) *config.SQL {
	return &config.SQL{
		PluginName: sqliteplugin.PluginName, DatabaseName: db, MaxConns: 1,
		ConnectAttributes: map[string]string{
			"mode": "rwc", "journal_mode": "wal", "synchronous": "1", "busy_timeout": "5000",
		},
	}
}

// freePorts returns n ports nobody listens on just now, all different, and none of them taken: each is
// held until all are found. They are below those that the kernel gives to outgoing connections, one of
// which could have the port before the server listens there: even the one of a client that waits for the
// server, which would be connected with itself.
func freePorts(n, taken int) ([]int, error) {
	const first, last, tries = 20000, 32767, 1000
	var ports []int
	for range tries {
		port := first + rand.IntN(last-first+1)
		if port == taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", localhost, port))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }()
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, shivx.Hint(fmt.Errorf("no %d free ports from %d to %d", n, first, last), "end what listens there")
}

// ready waits until the server answers.
func (s *server) ready(ctx context.Context, c client.Client) error {
	for {
		_, err := c.CheckHealth(ctx, &client.CheckHealthRequest{})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the Temporal server: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
