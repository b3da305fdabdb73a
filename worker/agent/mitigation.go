package agent

import (
	forecastacts "github.com/shivx/shivx/activities/forecast"
)

// openMitigation builds what the runbooks FaultForecast and Mitigation ask of this host.
func (a *Agent) openMitigation() {
	a.mitigation = &forecastacts.Activities{
		Config: a.cfg, Plugins: a.plugins, Ledger: a.ledger, Past: forecastacts.NewPast(a.ledger, a.log), Mode: a.mode, Logger: a.log,
	}
	if a.forecast != nil {
		a.mitigation.Engine = a.forecast
	}
}
