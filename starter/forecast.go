package main

import "github.com/spf13/cobra"

func (a *app) forecastCommand() *cobra.Command {
	c := group("forecast", "See faults before they happen", a.forecastBreachCommand(), a.forecastAnomaliesCommand(), a.forecastBacktestCommand())
	c.Long = `Forecasts from series of measurements. The commands that read a file work on what you give them, with
no agent and no Temporal.`
	return c
}
