package main

import (
	"fmt"
	"net"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"

	"github.com/shivx/shivx"
)

// newUI prepares Temporal's Web UI. Its server ends the whole process when the port is taken,
// so that is tried before.
func newUI(frontend string, port int) (*uiserver.Server, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", localhost, port))
	if err != nil {
		return nil, shivx.Hint(fmt.Errorf("the port of the Temporal UI is taken: %w", err), "choose another one with -ui-port")
	}
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("try the port of the Temporal UI: %w", err)
	}
	cfg := &uiconfig.Config{
		Host: localhost, Port: port, TemporalGRPCAddress: frontend, EnableUI: true, HideLogs: true,
		DefaultNamespace: "default", DisableNewsFetch: true,
		CORS: uiconfig.CORS{CookieInsecure: true},
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure the Temporal UI: %w", err)
	}
	return uiserver.NewServer(uioptions.WithConfigProvider(cfg)), nil
}
