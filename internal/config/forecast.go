package config

import "time"

// Forecast says which faults are foreseen, and what is done to prevent them.
type Forecast struct {
	// Enabled watches the subsystems.
	Enabled bool `yaml:"enabled" default:"true"`
	// Every is the time between two looks at what was measured.
	Every time.Duration `yaml:"every" default:"1m" rule:"positive"`
	// Schedule is the time between two runs of FaultForecast, which starts mitigations; 0s: only by hand.
	Schedule time.Duration `yaml:"schedule" default:"5m" rule:"nonneg"`
	// Prometheus is the server that answers the queries of series with promql.
	Prometheus *ForecastServer `yaml:"prometheus"`
	// Costs say from which probability on a subsystem is yellow, orange or red.
	Costs ForecastCosts `yaml:"costs"`
	// Blackouts are times in which nothing is mitigated.
	Blackouts []Blackout `yaml:"blackouts"`
	// Limits hold for all subsystems of the host together.
	Limits MitigationLimits `yaml:"limits"`
	// Subsystems that are watched, beside those of the host. An entry with the name of one of these changes of it what it says.
	Subsystems []Subsystem `yaml:"subsystems" default:"(cpu, memory, disk, inodes, open_files, threads and network of the host)"`
}

// ForecastServer is a server that answers PromQL, such as Prometheus.
type ForecastServer struct {
	// URL of the server, such as http://prometheus:9090.
	URL string `yaml:"url" rule:"required,url"`
	// Token is sent as a bearer token; a reference such as env:NAME or file:PATH.
	Token string `yaml:"token" rule:"secret"`
	// CA is a file with the certificates, as PEM, by which the server is known; without it those of the system. Relative to the file's folder.
	CA string `yaml:"ca" rule:"path"`
	// Timeout of one query.
	Timeout time.Duration `yaml:"timeout" default:"10s" rule:"positive"`
}

// ForecastCosts are what it costs to act on a forecast, where a failure that comes unprepared costs 100. Something is worth its cost
// from that percentage of probability on: there the colour changes.
type ForecastCosts struct {
	// Look is the cost of a person's look: yellow.
	Look float64 `yaml:"look" default:"5" rule:"positive"`
	// Prepare is the cost of being ready: orange.
	Prepare float64 `yaml:"prepare" default:"20" rule:"positive"`
	// Act is the cost of a mitigation: red.
	Act float64 `yaml:"act" default:"50" rule:"positive"`
}

// Blackout is a time, each week, in which nothing is mitigated.
type Blackout struct {
	// Days on which it begins; without it every day.
	Days []string `yaml:"days" rule:"enum=mon|tue|wed|thu|fri|sat|sun,unique"`
	// From is when it begins.
	From string `yaml:"from" default:"00:00" rule:"clock"`
	// To is when it ends; on the next day when that is not after its beginning.
	To string `yaml:"to" default:"24:00" rule:"clock"`
	// TimeZone of both.
	TimeZone string `yaml:"timezone" default:"UTC" rule:"timezone"`
}

// MitigationLimits bound what is done on a host.
type MitigationLimits struct {
	// Mitigations allowed per window.
	Mitigations int `yaml:"mitigations" default:"6" rule:"nonneg"`
	// Window in which they are counted.
	Window time.Duration `yaml:"window" default:"1h" rule:"positive"`
}

// Subsystem is a part of the host, or of a component, that can run out of something or get worse.
type Subsystem struct {
	// Name of the subsystem; it stands in workflow ids.
	Name string `yaml:"name" rule:"required,name"`
	// Enabled watches it; false turns a subsystem of the host off.
	Enabled bool `yaml:"enabled" default:"true"`
	// Model is what is asked: exhaustion, does it fill up and never come back by itself; spike, does a load that comes and goes with the hours
	// get too high; degradation, does a noisy figure of quality get worse. Required, but for a subsystem of the host.
	Model string `yaml:"model" rule:"enum=exhaustion|spike|degradation"`
	// Series to watch; the worst counts. Required, but for a subsystem of the host.
	Series []SubsystemSeries `yaml:"series"`
	// Counter says that the series are counters that only grow; their rate per second is watched.
	Counter bool `yaml:"counter" default:"false"`
	// Capacity is what must not be reached. Of a series with a limit the used share is watched, so that 0.95 is 95 %; else it is in the unit of the series, and must be given.
	Capacity float64 `yaml:"capacity" default:"(0.95 for shares)" rule:"positive"`
	// Horizon is how far ahead is looked.
	Horizon time.Duration `yaml:"horizon" default:"(6h for exhaustion, else 1h)" rule:"positive"`
	// Step is the time that one value stands for; a horizon has 6 to 288 of them.
	Step time.Duration `yaml:"step" default:"(a 72nd of the horizon, but not less than every)" rule:"positive"`
	// Limits of its mitigations.
	Limits SubsystemLimits `yaml:"limits"`
	// Mitigations in the order in which they are tried; without any, people see the risk and nothing is done.
	Mitigations []MitigationRule `yaml:"mitigations"`
}

// SubsystemSeries is where measurements come from; exactly one of its kinds is set.
type SubsystemSeries struct {
	// History is the name of a metric in the agent's own history; every series of that name that matches is watched.
	History string `yaml:"history" rule:"kind,metric"`
	// PromQL is a query to the server at forecast.prometheus; every series of its answer is watched.
	PromQL string `yaml:"promql" rule:"kind"`
	// Cgroup is the path of a cgroup below its root, such as system.slice/shop.service; its limit is memory.max or pids.max.
	Cgroup string `yaml:"cgroup" rule:"kind,below"`
	// Process is one process; only open_files have a limit of their own.
	Process *ProcessCheck `yaml:"process" rule:"kind"`
	// Component is the process of a component with a process check.
	Component string `yaml:"component" rule:"kind,name"`
	// Path is any on a file system; its limit is the file system's size.
	Path string `yaml:"path" rule:"kind,path"`

	// Match are labels that series of history must have.
	Match map[string]string `yaml:"match"`
	// What is measured: memory or pids of a cgroup; memory, open_files or threads of a process or component; bytes or inodes of a path.
	What string `yaml:"what" default:"(memory, or bytes of a path)" rule:"enum=memory|pids|open_files|threads|bytes|inodes"`
	// Of is the name of the metric in the own history that is the limit of the one in history, with the same labels.
	Of string `yaml:"of" rule:"metric"`
	// Limit of what is measured, in its unit, in place of one that can be read.
	Limit float64 `yaml:"limit" rule:"positive"`
}

// SubsystemLimits keep mitigations of a subsystem from doing harm.
type SubsystemLimits struct {
	// Mitigations allowed per window.
	Mitigations int `yaml:"mitigations" default:"3" rule:"nonneg"`
	// Window in which they are counted; an action that did not help is not repeated within it.
	Window time.Duration `yaml:"window" default:"24h" rule:"positive"`
	// Cooldown after a mitigation.
	Cooldown time.Duration `yaml:"cooldown" default:"15m" rule:"nonneg"`
}

// MitigationRule is one action against a forecast failure; exactly one of use and heal is set.
type MitigationRule struct {
	// Name of the action, in logs and in the ledger.
	Name string `yaml:"name" default:"(the plugin or component)" rule:"name"`
	// Plugin is the name of a built-in or configured plugin that takes it.
	Plugin string `yaml:"use" rule:"kind,name"`
	// Heal is the component that SelfHeal recovers: with its lock, isolation, checkpoint and validation.
	Heal string `yaml:"heal" rule:"kind,name"`
	// Options is what the plugin is given, as one JSON object; the plugin checks it.
	Options map[string]any `yaml:"with"`
	// Strategy is the rung of the component's ladder to take; without it the first.
	Strategy string `yaml:"strategy" rule:"name"`
	// Timeout of the action.
	Timeout time.Duration `yaml:"timeout" default:"5m" rule:"positive"`
	// Approval makes people agree before the action is taken.
	Approval Approval `yaml:"approval"`
	// Snapshot is the golden set that is kept before the action.
	Snapshot string `yaml:"snapshot" rule:"name"`
	// When it is taken: now, or in the quietest time before the forecast failure.
	When string `yaml:"when" default:"now" rule:"enum=now|quiet"`
	// MeasureAfter is how long after the action its effect is judged.
	MeasureAfter time.Duration `yaml:"measure_after" default:"15m" rule:"positive"`
}
