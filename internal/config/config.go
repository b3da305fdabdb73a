// Package config reads the one YAML file that tells an agent what to watch and how to heal it.
//
// Reading is strict: an unknown key, a bad duration, a missing plugin or a dependency cycle is
// an error with file, line, column and the nearest valid word, and all of them are reported at once.
//
// The structs below are the only description of the format. Their doc comments, their default tags
// and their rule tags (see rules) make the checks, the JSON Schema and the reference in docs/CONFIG.md.
package config

//go:generate go run ./gen ../../docs

import (
	"time"

	"github.com/shivx/shivx"
)

// Config is the whole file: one map with these keys.
type Config struct {
	// File is the absolute path of the file it was loaded from, without links.
	File string `yaml:"-"`

	// Version of the format; 1.
	Version int `yaml:"version" default:"1" rule:"required"`
	// Host is this agent's name in the fleet.
	Host string `yaml:"host" default:"(the machine's host name)" rule:"name"`
	// Paths says where the agent keeps its files.
	Paths    Paths    `yaml:"paths"`
	Temporal Temporal `yaml:"temporal"`
	API      API      `yaml:"api"`
	// Plugins are external recovery plugins; the built-in ones need no entry.
	Plugins []Plugin `yaml:"plugins"`
	// Defaults hold for every check and component that does not say otherwise.
	Defaults Defaults `yaml:"defaults"`
	// Components are the services to keep alive.
	Components []Component `yaml:"components"`
	// Notify lists the ways to reach people; an escalation goes to all of them.
	Notify []Notify `yaml:"notify"`
	// Resilience says how the host's health is measured and what is given up when it falls.
	Resilience Resilience `yaml:"resilience"`
	// Guardian says which logs are read, who counts as an attacker, and how sources are kept out.
	Guardian Guardian `yaml:"guardian"`
	// Golden says what is backed up, where it is kept, and how it is restored.
	Golden Golden `yaml:"golden"`
	// Forecast says which faults are foreseen, and what is done to prevent them.
	Forecast Forecast `yaml:"forecast"`
}

// Paths says where the agent keeps its files.
type Paths struct {
	// Var holds ledgers, checkpoints and run-time state; relative to the file's folder.
	Var string `yaml:"var" default:"var" rule:"path"`
}

// Temporal says what the agent asks of the Temporal server. Address, TLS and keys come from
// the environment or Temporal's own profile file (TEMPORAL_ADDRESS, TEMPORAL_PROFILE, …).
type Temporal struct {
	// TaskQueue on which runbooks run.
	TaskQueue string `yaml:"task_queue" default:"shivx" rule:"name"`
}

// API is the agent's own HTTP interface.
type API struct {
	// Listen is the address HOST:PORT to listen on; "off" turns the interface off.
	Listen string `yaml:"listen" default:"127.0.0.1:9470" rule:"listen"`
	// PublicURL is how browsers reach the interface, such as https://web-1.example.org at a proxy with TLS; login links begin with it, and with https cookies are sent over TLS alone. It may have no path.
	PublicURL string `yaml:"public_url" rule:"origin"`
	// Tokens let others in beside the administrator, whose token is in api.token below paths.var.
	Tokens []Token `yaml:"tokens"`
}

// Token lets one program or person use the HTTP interface.
type Token struct {
	// Name of whoever holds it, in logs and in what is done with it.
	Name string `yaml:"name" rule:"required,name"`
	// Role says what it may do: app asks for features; viewer reads everything; operator acts as
	// well; admin may do all.
	Role string `yaml:"role" rule:"required,enum=app|viewer|operator|admin"`
	// Modules lists the modules an app or viewer may register, send heartbeats of and remove, as
	// names or patterns such as worker-*; without it none. It may call them critical, and its
	// heartbeats decide over components of the file that have a heartbeat check. Operators may all.
	Modules []string `yaml:"modules" rule:"nameglob,unique"`
	// Events lets an app or viewer report events to the guardian, which may isolate whomever it names. Operators may all.
	Events bool `yaml:"events" default:"false"`
	// Token is the secret, at least 16 characters; a reference such as env:NAME or file:PATH.
	Token string `yaml:"token" rule:"required,secret"`
}

// Plugin is an external recovery plugin: an executable started over hashicorp/go-plugin.
type Plugin struct {
	// Name under which strategies use it; it may not be that of a built-in plugin.
	Name string `yaml:"name" rule:"required,name"`
	// Path of the executable; relative to the file's folder.
	Path string `yaml:"path" rule:"required,path"`
	// Args are the arguments it is started with.
	Args []string `yaml:"args"`
	// SHA256 of the executable, 64 hexadecimal digits; one that differs is not started.
	SHA256 string `yaml:"sha256" rule:"required,sha256"`
}

// Defaults hold for every check and component that does not say otherwise.
type Defaults struct {
	// Every is the time between two runs of a check.
	Every time.Duration `yaml:"every" default:"10s" rule:"positive"`
	// Timeout of one run of a check.
	Timeout time.Duration `yaml:"timeout" default:"5s" rule:"positive"`
	// Failures in a row after which a component is faulty.
	Failures int `yaml:"failures" default:"3" rule:"positive"`
}

// Component is one service to keep alive.
type Component struct {
	// Name is the component's name; it stands in workflow ids.
	Name string `yaml:"name" rule:"required,name"`
	// Critical components are kept in every degradation level and escalate at once.
	Critical bool `yaml:"critical" default:"false"`
	// DependsOn names components of this host that must be healthy first.
	DependsOn []string `yaml:"depends_on" rule:"unique"`
	// Checks tell whether the component is healthy; a recovery counts when all of them pass.
	Checks []Check `yaml:"checks" rule:"required"`
	// Failures in a row of any one check that make a fault.
	Failures int `yaml:"failures" default:"(defaults.failures)" rule:"positive"`
	// State is what a checkpoint holds.
	State State `yaml:"state"`
	// Isolate takes the component out of traffic and puts it back; without it nothing is done.
	Isolate Use `yaml:"isolate"`
	// Ladder lists the recovery strategies in the order in which they are tried; without any, people are asked at once.
	Ladder   []Strategy `yaml:"ladder"`
	Validate Validate   `yaml:"validate"`
	Limits   Limits     `yaml:"limits"`
	// OnFailure says what happens to an isolated component when the ladder is used up.
	OnFailure string `yaml:"on_failure" default:"stay-isolated" rule:"enum=stay-isolated|reintegrate"`
	// Alerts maps Alertmanager labels to this component; all labels of one entry must match.
	// Without an entry the alert's label "component" is compared with the name, and an alert that
	// names another host with its first label of "host", "nodename" and "instance" is left to that
	// host's agent; with entries, name the host in them when one Alertmanager posts to many agents.
	Alerts []map[string]string `yaml:"alerts"`
}

// Use names a plugin and gives it its options.
type Use struct {
	// Plugin is the name of a built-in or configured plugin.
	Plugin string `yaml:"use" rule:"required,name"`
	// Options is what the plugin is given, as one JSON object; the plugin checks it.
	Options map[string]any `yaml:"with"`
	// Timeout of one step.
	Timeout time.Duration `yaml:"timeout" default:"30s" rule:"positive"`
}

// Strategy is one rung of the ladder.
type Strategy struct {
	// Name of the rung, in logs and in the ledger.
	Name string `yaml:"name" default:"(the plugin's name)" rule:"name"`
	Use  `yaml:",inline"`
	// Attempts on this rung before the next is tried.
	Attempts int `yaml:"attempts" default:"1" rule:"positive"`
	// Approval makes people agree before the rung is used.
	Approval Approval `yaml:"approval"`
}

// Approval is an N-of-M agreement with an end.
type Approval struct {
	// Required is N; 0 asks nobody.
	Required int `yaml:"required" default:"0" rule:"required,nonneg"`
	// Of lists the M who may approve; empty: anybody.
	Of []string `yaml:"of" rule:"unique"`
	// TTL after which the default holds.
	TTL time.Duration `yaml:"ttl" default:"15m" rule:"positive"`
	// Default is the answer when nobody decided in time.
	Default string `yaml:"default" default:"deny" rule:"enum=deny|approve"`
}

// Validate says when a recovery counts.
type Validate struct {
	// Window over which all checks must pass without a break; 0s: one pass each.
	Window *time.Duration `yaml:"window" default:"10s" rule:"nonneg"`
	// Every is the time between two rounds of checks in the window.
	Every time.Duration `yaml:"every" default:"1s" rule:"positive"`
	// Settle is how long a component may take to pass its first round.
	Settle time.Duration `yaml:"settle" default:"30s" rule:"nonneg"`
}

// Limits keep automation from doing harm.
type Limits struct {
	// Heals allowed per window before people are asked instead.
	Heals int `yaml:"heals" default:"5" rule:"positive"`
	// Window of the budget.
	Window time.Duration `yaml:"window" default:"1h" rule:"positive"`
	// Cooldown after a heal; doubles with each one that follows within the window.
	Cooldown time.Duration `yaml:"cooldown" default:"10s" rule:"nonneg"`
	// MaxCooldown caps the doubling.
	MaxCooldown time.Duration `yaml:"max_cooldown" default:"10m" rule:"nonneg"`
	// DependencyWait is how long a heal waits for its dependencies to be healthy.
	DependencyWait time.Duration `yaml:"dependency_wait" default:"2m" rule:"nonneg"`
}

// State is what a checkpoint holds and how its change is judged.
type State struct {
	// Paths of files and folders, relative to the file's folder; a leading "~" or a glob is not expanded.
	Paths []string `yaml:"paths" rule:"path,unique"`
	// Exclude lists glob patterns relative to each path; "**" crosses folders.
	Exclude []string `yaml:"exclude" rule:"relglob"`
	// Every is the time between checkpoints taken while healthy; 0s: only on demand.
	Every time.Duration `yaml:"every" default:"0s" rule:"nonneg"`
	// Keep is how many checkpoints of each kind (healthy, fault) are kept.
	Keep int `yaml:"keep" default:"3" rule:"positive"`
	// Rules judge the difference between the checkpoint and the recovered state; first match holds.
	Rules []Rule `yaml:"rules"`
	// Consistency commands must exit with 0 after a recovery; {state} is replaced by the path checked.
	Consistency []Command `yaml:"consistency"`
	// Before is run before a checkpoint is copied, e.g. to flush buffers.
	Before *Command `yaml:"before"`
}

// Rule allows or forbids changes of files that match.
type Rule struct {
	// Match is a glob pattern on the absolute path; "**" crosses folders.
	Match string `yaml:"match" rule:"required,absglob"`
	// Allow lists what may happen to them; empty: nothing.
	Allow []string `yaml:"allow" rule:"enum=added|removed|changed|shrunk,unique"`
}

// Command is a program with its arguments; no shell.
type Command struct {
	// Argv is the program and its arguments.
	Argv []string `yaml:"argv" rule:"required"`
	// Dir is the working folder, relative to the file's folder; without it the agent's own.
	Dir string `yaml:"dir" rule:"path"`
	// Env adds variables to the agent's environment.
	Env map[string]string `yaml:"env"`
	// Timeout of one run; in a check without its own the check's timeout.
	Timeout time.Duration `yaml:"timeout" default:"30s" rule:"positive"`
}

// Notify is one way to reach people; exactly one of url and command is set.
type Notify struct {
	// Name of this way, in logs and in the ledger.
	Name string `yaml:"name" default:"(the kind: url or command)" rule:"name"`
	// URL gets the escalation as JSON by POST; a reference such as env:NAME or file:PATH is resolved.
	URL string `yaml:"url" rule:"kind,url,secret"`
	// Command gets the escalation as JSON on its standard input.
	Command *Command `yaml:"command" rule:"kind"`
}

// Target returns the component's target on host.
func (c Component) Target(host string) shivx.Target {
	return shivx.Target{Component: c.Name, Host: host}
}
