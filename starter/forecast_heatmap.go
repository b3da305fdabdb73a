package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
)

func (a *app) forecastHeatmapCommand() *cobra.Command {
	var pictures pictureFlags
	c := &cobra.Command{
		Use: "heatmap", Short: "Show the risk of each subsystem of this host",
		Long: `Show how likely each subsystem of this host fails, as its agent sees it: a risk from 0 to 100, green to 25, yellow to 50,
orange to 75, red above. It follows from the probability that the worst of its series reaches its capacity within the
horizon, and from what a failure costs beside what it costs to act (forecast.costs in the configuration).

REACHED is when that is if it goes on like this, and between which times it is then with a probability of 80 %.
! marks subsystems with an open alert. shivx forecast explain SUBSYSTEM says why.

` + forecastCodes,
		Example: `  shivx forecast heatmap
  shivx forecast heatmap --png risks.png
  shivx forecast heatmap -o json | jq -r '.risks[] | select(.risk > 50) | .subsystem'`,
		Args: cobra.NoArgs,
	}
	pictures.add(c)
	c.RunE = a.does(func(cmd *cobra.Command, _ []string) error { return a.heatmap(cmd.Context(), pictures) })
	return c
}

// forecastCodes are the exit codes of the commands that ask an agent.
const forecastCodes = `Exit codes: 0 whatever the risk, 1 error, 2 bad usage or no such subsystem, 3 no agent answers, 5 its token is not known.`

func (a *app) heatmap(ctx context.Context, pictures pictureFlags) error {
	c, err := a.agent()
	if err != nil {
		return err
	}
	var h shivx.Heatmap
	if err := c.get(ctx, heatmapPath, &h); err != nil {
		return err
	}
	if err := pictures.write(ctx, a, c, url.Values{}); err != nil {
		return err
	}
	if a.json() {
		return a.document(h)
	}
	if len(h.Risks) == 0 {
		a.err.line(normal, "no subsystem is watched: forecast.subsystems in the agent's configuration names them")
		return nil
	}
	a.out.printf("%s, %s ago", h.Host, age(h.At))
	a.out.table(riskTable(h.Risks))
	return nil
}

// riskBar draws a risk in ten columns.
func riskBar(risk int) string {
	n := min(max((risk+5)/10, 0), 10)
	return strings.Repeat("█", n) + strings.Repeat("░", 10-n)
}

func riskTable(risks []shivx.Risk) table {
	t := table{head: []string{"SUBSYSTEM", "RISK", "", "PROBABILITY", "REACHED", "WHY"}, free: []int{5}, whole: []int{0, 1, 2, 3}}
	for _, r := range risks {
		if r.Missing != "" {
			t.add(text(r.Subsystem), cell{"–", faint}, text(""), text(""), text(""), cell{"nothing is known: " + r.Missing, faint})
			continue
		}
		st := riskStyles[r.Color]
		name := cell{r.Subsystem, normal}
		if r.Alert {
			name = cell{r.Subsystem + " !", bold}
		}
		t.add(name, cell{fmt.Sprintf("%3d %s", r.Risk, r.Color), st}, cell{riskBar(r.Risk), st},
			text(probability(r.Probability)+" in "+within(r.Horizon)), text(reached(r.BreachAt, r.Low, r.High)), text(r.Why))
	}
	return t
}
