package forecast

import (
	"context"
	"time"

	"github.com/shivx/shivx/internal/config"
)

// mostAtOnce is how many points of a series are asked for at once: Prometheus gives 11,000.
const mostAtOnce = 10_000

// QueryRange asks a server for the values of a query between two times, one for each step; a series has the name of its
// metric, or else the query, and its labels. Steps begin at multiples since 1970.
func QueryRange(ctx context.Context, c config.ForecastServer, query string, from, to time.Time, step time.Duration) ([]Series, error) {
	server, err := newPromServer(c)
	if err != nil {
		return nil, err
	}
	p := promSource{server: server, query: query, every: step}
	var out []Series
	at := map[string]int{}
	for begin := floor(from, step); !begin.After(to); begin = begin.Add(mostAtOnce * step) {
		got, err := p.read(ctx, begin, minTime(to, begin.Add((mostAtOnce-1)*step)), step)
		if err != nil {
			return nil, err
		}
		for _, r := range got {
			i, known := at[r.name]
			if !known {
				i = len(out)
				at[r.name], out = i, append(out, Series{Name: r.name})
			}
			out[i].Points = append(out[i].Points, r.points...)
		}
	}
	return out, nil
}
