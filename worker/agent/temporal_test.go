package agent

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/telemetry"
)

// frontend is as much of a Temporal server as an agent needs to connect.
type frontend struct {
	workflowservice.UnimplementedWorkflowServiceServer
	operatorservice.UnimplementedOperatorServiceServer

	// operator is the error of the operator service; with none it has the attributes.
	operator error
	// attributes of the operator service and of the workflow service, and the names of its fields.
	attributes, keys map[string]enumspb.IndexedValueType
	aliases          map[string]string
	// away counts down the describing calls that fail, with which a worker starts.
	away     atomic.Int32
	once     sync.Once
	signaled chan struct{}
}

func keywords(names ...string) map[string]enumspb.IndexedValueType {
	out := map[string]enumspb.IndexedValueType{}
	for _, n := range names {
		out[n] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	}
	return out
}

func ourAttributes() map[string]enumspb.IndexedValueType {
	out := keywords(shivx.AttrComponent, shivx.AttrHost, shivx.AttrRunbook, shivx.AttrOutcome, shivx.AttrSet, shivx.AttrSubsystem)
	out[shivx.AttrChanged] = enumspb.INDEXED_VALUE_TYPE_DATETIME
	return out
}

func (f *frontend) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{Capabilities: &workflowservice.GetSystemInfoResponse_Capabilities{}}, nil
}

func (f *frontend) DescribeNamespace(context.Context, *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	if f.away.Add(-1) >= 0 {
		return nil, status.Error(codes.PermissionDenied, "going down")
	}
	return &workflowservice.DescribeNamespaceResponse{Config: &namespacepb.NamespaceConfig{CustomSearchAttributeAliases: f.aliases}}, nil
}

func (f *frontend) GetSearchAttributes(context.Context, *workflowservice.GetSearchAttributesRequest) (*workflowservice.GetSearchAttributesResponse, error) {
	return &workflowservice.GetSearchAttributesResponse{Keys: f.keys}, nil
}

func (f *frontend) ListSearchAttributes(context.Context, *operatorservice.ListSearchAttributesRequest) (*operatorservice.ListSearchAttributesResponse, error) {
	return &operatorservice.ListSearchAttributesResponse{CustomAttributes: f.attributes}, f.operator
}

func (f *frontend) AddSearchAttributes(context.Context, *operatorservice.AddSearchAttributesRequest) (*operatorservice.AddSearchAttributesResponse, error) {
	return &operatorservice.AddSearchAttributesResponse{}, f.operator
}

func (f *frontend) PollActivityTaskQueue(ctx context.Context, _ *workflowservice.PollActivityTaskQueueRequest) (*workflowservice.PollActivityTaskQueueResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (f *frontend) PollWorkflowTaskQueue(ctx context.Context, _ *workflowservice.PollWorkflowTaskQueueRequest) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (f *frontend) SignalWithStartWorkflowExecution(context.Context, *workflowservice.SignalWithStartWorkflowExecutionRequest) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
	f.once.Do(func() { close(f.signaled) })
	return &workflowservice.SignalWithStartWorkflowExecutionResponse{}, nil
}

// serve starts the frontend and builds an agent beside it.
func (f *frontend) serve(t *testing.T) *Agent {
	t.Helper()
	f.signaled = make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(srv, f)
	operatorservice.RegisterOperatorServiceServer(srv, f)
	checks := health.NewServer()
	checks.SetServingStatus("temporal.api.workflowservice.v1.WorkflowService", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(srv, checks)
	go func() { _ = srv.Serve(l) }() // ends with Stop
	t.Cleanup(srv.Stop)

	quiet := slog.New(slog.DiscardHandler)
	c, err := client.NewLazyClient(Reconnecting(client.Options{HostPort: l.Addr().String(), Logger: sdklog.NewStructuredLogger(quiet)}))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	cfg := config.Default()
	cfg.Host, cfg.Paths.Var, cfg.API.Listen = "h1", t.TempDir(), "off"
	cfg.Components = []config.Component{{Name: "svc"}}
	a, err := New(cfg, c, Options{Namespace: client.DefaultNamespace, Logger: quiet, Telemetry: telemetry.New()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.close() }) // Run may have closed it
	return a
}

func TestWorkersThatCannotStartAreTriedAgain(t *testing.T) {
	f := &frontend{attributes: ourAttributes()}
	f.away.Store(2)
	a := f.serve(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { a.temporal(ctx); close(done) }()
	select {
	case <-f.signaled:
	case <-done:
		t.Fatal("the agent gave up")
	case <-time.After(30 * time.Second):
		t.Fatal("the agent did not connect again")
	}
	require.Negative(t, f.away.Load(), "a start has failed first")
	stop()
	select {
	case <-done:
	case <-time.After(stopLimit + 5*time.Second):
		t.Fatal("the agent did not stop")
	}
}

func TestSearchAttributesWithoutTheOperatorService(t *testing.T) {
	text, word := ourAttributes(), ourAttributes()
	word[shivx.AttrChanged] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	fields := keywords("Keyword01", "Keyword02", "Keyword03", "Keyword04", "Keyword05", "Keyword06")
	fields["Datetime01"] = enumspb.INDEXED_VALUE_TYPE_DATETIME
	text[shivx.AttrHost] = enumspb.INDEXED_VALUE_TYPE_TEXT
	refused := status.Error(codes.PermissionDenied, "not for you")
	for name, c := range map[string]struct {
		*frontend
		wrong string
	}{
		"listed":           {&frontend{attributes: ourAttributes()}, ""},
		"made":             {&frontend{}, ""},
		"refused":          {&frontend{operator: refused, keys: ourAttributes()}, ""},
		"not there":        {&frontend{operator: status.Error(codes.Unimplemented, "unknown service"), keys: ourAttributes()}, ""},
		"missing":          {&frontend{operator: refused, keys: keywords(shivx.AttrHost)}, "create the search attributes"},
		"server is broken": {&frontend{operator: status.Error(codes.InvalidArgument, "broken"), keys: ourAttributes()}, "broken"},
		"of another type":  {&frontend{attributes: text}, "ShivxHost of namespace default has the type Text, not Keyword"},
		"a time as a word": {&frontend{attributes: word}, "ShivxChanged of namespace default has the type Keyword, not Datetime"},
		"refused and of another type": {&frontend{operator: refused, keys: text},
			"ShivxHost of namespace default has the type Text, not Keyword"},
		"in numbered fields": {&frontend{operator: refused, keys: fields, aliases: map[string]string{
			"Keyword01": shivx.AttrComponent, "Keyword02": shivx.AttrHost, "Keyword03": shivx.AttrRunbook, "Keyword04": shivx.AttrOutcome, "Keyword05": shivx.AttrSet, "Keyword06": shivx.AttrSubsystem,
			"Datetime01": shivx.AttrChanged}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.serve(t).prepareServer(t.Context())
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.wrong)
			if name != "server is broken" {
				require.NotEmpty(t, shivx.HintOf(err))
			}
		})
	}
}
