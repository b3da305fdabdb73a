package ingest

import (
	"net/netip"
	"time"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian/logs"
)

// newParser makes the parser that a log's format names. Times without a zone are in that of this host.
func newParser(l config.Log, trusted []netip.Prefix) (logs.Parser, error) {
	var kind logs.Kind
	for _, k := range []logs.Kind{logs.Request, logs.Failure, logs.Success, logs.Probe, logs.Denied} {
		if k.String() == l.Kind {
			kind = k
		}
	}
	return logs.New(l.Format, logs.Options{
		Zone: time.Local, Mode: l.Mode, Pattern: l.Pattern, Kind: kind, TimeLayout: l.TimeLayout, Trusted: trusted,
	})
}
