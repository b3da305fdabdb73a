package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/pflag"

	"github.com/shivx/shivx/internal/backtest"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/forecast"
)

// prometheusFlags say which series of a Prometheus are judged.
type prometheusFlags struct {
	server, query, since string
}

func (p *prometheusFlags) add(f *pflag.FlagSet) {
	f.StringVar(&p.server, "prometheus", "", "URL of a Prometheus server; else the one of the agent's configuration")
	f.StringVar(&p.query, "query", "", "PromQL whose series are judged")
	f.StringVar(&p.since, "since", "14d", "how much of the past of the query, such as 36h or 4w")
}

func (*prometheusFlags) asked(f *pflag.FlagSet) bool {
	return f.Changed("prometheus") || f.Changed("query") || f.Changed("since")
}

const (
	// mostQueried is how many series of one query are judged: each takes some seconds.
	mostQueried = 50
	// queryPatience is how long the server may take for one answer.
	queryPatience = 2 * time.Minute
)

// tokenVariable holds the token for a Prometheus that is named by a flag.
const tokenVariable = "PROMETHEUS_TOKEN"

// backtestQuery judges the series of a query.
func (a *app) backtestQuery(ctx context.Context, args []string, p prometheusFlags, t backtest.Task, horizon time.Duration, bounded bool) error {
	switch {
	case p.query == "":
		return hint(usagef("there is no --query"), "write PromQL, such as --query 'node_filefd_allocated'")
	case !bounded:
		return hint(usagef("--query needs --capacity"), "say which level the series must not reach")
	case len(args) > 0:
		return hint(usagef("--query and files are judged apart"), "leave one of them out")
	}
	since, err := model.ParseDuration(p.since)
	if err != nil || since <= 0 {
		return hint(usagef("--since %s is no time ago", p.since), "write 36h, 14d or 4w")
	}
	if err := backtestHorizon(&t, horizon); err != nil {
		return err
	}
	if err := checkTask(t); err != nil {
		return err
	}
	server, err := a.prometheusServer(p)
	if err != nil {
		return err
	}
	now := time.Now()
	series, err := forecast.QueryRange(ctx, server, p.query, now.Add(-time.Duration(since)), now, t.Step)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return backtestError(p.query, ctx.Err())
	case err != nil:
		return err
	case len(series) == 0:
		return hint(fmt.Errorf("the query gives nothing since %s", p.since), "try it in the server's own page; has it data of that time?")
	case len(series) > mostQueried:
		return hint(usagef("the query gives %d series", len(series)), fmt.Sprintf("write one that gives at most %d, by labels or topk", mostQueried))
	}
	var out backtested
	for _, s := range series {
		points := make([]backtest.Point, len(s.Points))
		for i, p := range s.Points {
			points[i] = backtest.Point{At: p.At, Value: p.Value}
		}
		if err := a.backtestOwn(ctx, &out, backtestedFile{Series: s.String()}, backtest.Steps(points, t.Step), t); err != nil {
			return err
		}
	}
	return a.backtestShown(&out)
}

// prometheusServer is the one that is named, or else that of the agent's configuration.
func (a *app) prometheusServer(p prometheusFlags) (config.ForecastServer, error) {
	if p.server != "" {
		s := config.ForecastServer{URL: p.server, Timeout: queryPatience}
		if os.Getenv(tokenVariable) != "" {
			s.Token = "env:" + tokenVariable
		}
		return s, nil
	}
	cfg, err := a.agentConfig()
	if err != nil {
		return config.ForecastServer{}, err
	}
	if cfg == nil || cfg.Forecast.Prometheus == nil {
		return config.ForecastServer{}, hint(usagef("there is no --prometheus, and no forecast.prometheus in the configuration"),
			"name the server, such as --prometheus http://127.0.0.1:9090")
	}
	s := *cfg.Forecast.Prometheus
	s.Timeout = queryPatience
	return s, nil
}
