package history

import (
	"context"
	"log/slog"
	"strings"
)

// quiet is a log handler for the database, which tells much that is of no use to an operator.
type quiet struct{ slog.Handler }

// level is that of a line for an operator.
func level(l slog.Level, message string) slog.Level {
	if l == slog.LevelInfo || strings.HasPrefix(message, "Overlapping blocks found") {
		return slog.LevelDebug
	}
	return l
}

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return q.Handler.Enabled(ctx, level(l, ""))
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = level(r.Level, r.Message)
	if !q.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	r.Message = "metric history: " + r.Message
	return q.Handler.Handle(ctx, r)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
