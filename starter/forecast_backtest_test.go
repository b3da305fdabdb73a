package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rising writes a series that grows from 0 to its capacity of 100 and falls back, three times.
func rising(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("step,value\n")
	for i := range 600 {
		fmt.Fprintf(&b, "%d,%.1f\n", i, float64(i%200)*100/199)
	}
	file := filepath.Join(t.TempDir(), "memory.csv")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	return file
}

func TestBacktestOfAFile(t *testing.T) {
	file := rising(t)
	var out, errs bytes.Buffer
	require.Equal(t, exitOK, run([]string{"forecast", "backtest", "--capacity", "100", "--horizon", "1h", file}, nil, &out, &errs), errs.String())
	require.Empty(t, errs.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2+6)
	require.Equal(t, file+": 600 steps, 3 events, 549 decisions, 36 of them positive", lines[0])
	require.True(t, strings.HasPrefix(lines[2], "ShivX "), lines[2])

	out.Reset()
	require.Equal(t, exitOK, run([]string{"forecast", "backtest", "-o", "json", "--capacity", "100", "--horizon", "1h", file}, nil, &out, &errs))
	var got backtested
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Len(t, got.Files, 1)
	scores := got.Files[0].Scores
	require.Len(t, scores, 6)
	hour := scores[1]
	require.Equal(t, "predict_linear[1h]", hour.Forecaster)
	require.InDelta(t, 1, float64(hour.Recall), 1e-9, "a straight line is what it is for")
	require.InDelta(t, 1, float64(hour.Caught), 1e-9)
	require.InDelta(t, 60, float64(hour.Lead), 1e-9)
	require.InDelta(t, 0, float64(hour.TimeError), 0.01)
}

func TestBacktestOfAFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	var out, errs bytes.Buffer
	require.Equal(t, exitUsage, run([]string{"forecast", "backtest", "."}, nil, &out, &errs))
	require.Contains(t, errs.String(), "holds none of leaks, series and nab")

	require.NoError(t, os.MkdirAll("shared/data/leaks", 0o755))
	require.NoError(t, os.WriteFile("shared/data/leaks/index.csv", []byte("id,source,kind,onset,exhausted\n7,made,none,1,-1\n"), 0o600))
	errs.Reset()
	require.Equal(t, exitError, run([]string{"forecast", "backtest"}, nil, &out, &errs))
	require.Contains(t, errs.String(), "7.csv.gz", "it is found from the folder above, and told what is missing")
	require.Empty(t, out.String())
}

func TestBacktestRefuses(t *testing.T) {
	file := rising(t)
	for said, args := range map[string][]string{
		"--capacity needs a file to judge":   {"--capacity", "1"},
		"it must be 6 to 288 steps":          {"--capacity", "1", "--horizon", "10m", file},
		"--step 0s is no length of a step":   {"--capacity", "1", "--step", "0s", file},
		"say with --capacity which level":    {file},
		"are for series of your own":         {"--horizon", "1h"},
		"there is no file":                   {"--capacity", "1", file + ".not"},
		"there is no file -":                 {"--capacity", "1", "-"},
		"there is no folder":                 {file + ".not"},
		"name one folder, or add --capacity": {"a", "b"},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, exitUsage, run(append([]string{"forecast", "backtest"}, args...), nil, &out, &errs), said)
		require.Contains(t, errs.String(), said)
		require.Empty(t, out.String())
	}
}
