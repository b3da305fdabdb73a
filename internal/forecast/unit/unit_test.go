package unit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValuesHaveTheUnitOfTheSeries(t *testing.T) {
	for _, c := range []struct {
		series string
		value  float64
		text   string
	}{
		{"shivx_host_cpu_used_ratio", 0.9537, "95.37 %"}, {`x_ratio{a="b"}`, 1, "100 %"}, {"x_ratio", 0.000001, "0.0001 %"},
		{"x_open_files/x_open_files_limit", 0.5, "50 %"}, {`x_bytes/limit{a="/b c"}`, 0.5, "50 %"},
		{"x_bytes", 3 << 29, "1.5 GiB"}, {"x_bytes", 100, "100 B"}, {"x_bytes_total", 2048, "2 KiB/s"}, {`x_bytes{path="/var"}`, 2048, "2 KiB"},
		{"x_seconds", 0.25, "0.25 s"}, {"x_seconds", 0, "0 s"}, {"errors_total", 1500, "1.5 k/s"},
		{"x", 12, "12"}, {"x", 2e7, "20 M"}, {"x", -2500, "-2.5 k"}, {"x", 1e-5, "1e-05"}, {"x", 1e30, "1e+12 E"}, {"x", -0.001, "0"},
		{"sum(rate(x_bytes_total[5m]))", 2048, "2.05 k"}, {"a_bytes / b_bytes", 0.5, "0.5"}, {"", 1, "1"},
		{"x", math.NaN(), "?"}, {"x_ratio", math.Inf(-1), "?"},
	} {
		require.Equal(t, c.text, Of(c.series).Text(c.value, 2), c.series)
	}
}

func TestStepsAreRound(t *testing.T) {
	for x, want := range map[float64]float64{0.3: 0.5, 1: 1, 1.1: 2, 4: 5, 7: 10, 0.02: 0.02, 2.1e-7: 5e-7} {
		require.InEpsilon(t, want, Of("x").Step(x), 1e-12, x)
	}
	require.InEpsilon(t, 1024, Of("x_bytes").Step(600), 1e-12)
}
