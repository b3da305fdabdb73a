package agent

import (
	"context"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// reconnectEvery is the longest pause between two tries to reach a server that is away. The
// SDK's own grows to 10 s, and as long a run would then wait after the server is back.
const reconnectEvery = time.Second

// Reconnecting makes a client go on soon after the return of a server that was away: it dials
// every second, and a worker's requests wait for the connection instead of failing and pausing
// for longer and longer.
func Reconnecting(o client.Options) client.Options {
	params := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	params.Backoff.BaseDelay, params.Backoff.MaxDelay = 100*time.Millisecond, reconnectEvery
	o.ConnectionOptions.DialOptions = append(o.ConnectionOptions.DialOptions,
		grpc.WithConnectParams(params), grpc.WithChainUnaryInterceptor(awaitServer))
	return o
}

// awaitServer lets what a worker asks for and answers wait for the server. What people and
// sensors ask still fails at once.
func awaitServer(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	call := method[strings.LastIndexByte(method, '/')+1:]
	if strings.HasPrefix(call, "Poll") || strings.HasPrefix(call, "Respond") {
		opts = append(opts, grpc.WaitForReady(true))
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}
