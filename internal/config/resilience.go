package config

import (
	"fmt"
	"time"

	"github.com/shivx/shivx"
)

// Resilience says how the host's health is measured and what is given up when it falls.
type Resilience struct {
	Monitor HostMonitor `yaml:"monitor"`
	History History     `yaml:"history"`
	Score   ScoreRules  `yaml:"score"`
	Levels  LevelRules  `yaml:"levels"`
	Modules ModuleRules `yaml:"modules"`
	// Features of the applications on this host; a list replaces the default one whole.
	Features []Feature `yaml:"features" default:"(analytics and background_tasks off at LEVEL_1, ai_inference and web_search at LEVEL_2, uploads and integrations at LEVEL_3, memory_writes at EMERGENCY, chat never)"`
	// FlagsFile gets the features as JSON at each change, for programs that only read files; relative to the file's folder. Programs of other users cannot read below paths.var: name a folder of theirs, such as /run/shop.
	FlagsFile string `yaml:"flags_file" default:"(resilience/flags.json below paths.var)" rule:"path"`
	// Hooks shed load as the level falls; they are taken back in the opposite order as it rises.
	Hooks []Hook `yaml:"hooks"`
}

// HostMonitor says what is measured on the host.
type HostMonitor struct {
	// Every is the time between two samples.
	Every time.Duration `yaml:"every" default:"5s" rule:"positive"`
	// RecordEvery is the time between two health_check events in the audit.
	RecordEvery time.Duration `yaml:"record_every" default:"60s" rule:"positive"`
	// Root is where the host's file system is seen, such as /host in a container that watches its host.
	Root string `yaml:"root" default:"/" rule:"path"`
	// Mounts lists the mount points to watch, as glob patterns; empty: every local, writable file system on a fixed disk, except below /boot and /efi.
	Mounts []string `yaml:"mounts" rule:"absglob"`
	// ExcludeMounts lists mount points to leave out, as glob patterns.
	ExcludeMounts []string `yaml:"exclude_mounts" rule:"absglob"`
	// Timeout of one reading; one that takes longer is missing; a file system that does so twice in a row counts as full.
	Timeout time.Duration `yaml:"timeout" default:"2s" rule:"positive"`
}

// History says how long measurements are kept below paths.var.
type History struct {
	// Retention is the age at which measurements are dropped.
	Retention time.Duration `yaml:"retention" default:"360h" rule:"positive"`
	// MaxMB is the size on disk in megabytes at which the oldest are dropped.
	MaxMB int `yaml:"max_mb" default:"512" rule:"positive"`
}

// ScoreRules make the health score, 0–100, out of the readings; docs/RESILIENCE.md has the formula.
type ScoreRules struct {
	// Curves replace the default curve of a resource.
	Curves []Curve `yaml:"curves"`
	// CriticalModule is how many points a failing critical component costs by itself.
	CriticalModule int `yaml:"critical_module" default:"40" rule:"range=0-100"`
	// Module is how many points any other failing component costs by itself.
	Module int `yaml:"module" default:"10" rule:"range=0-100"`
	// MinConfidence, in percent, is the share of readings needed to change the level.
	MinConfidence int `yaml:"min_confidence" default:"50" rule:"range=0-100"`
}

// Curve scores one resource: straight lines between its points, level beyond the ends.
type Curve struct {
	// Resource that is scored.
	Resource string `yaml:"resource" rule:"required,enum=cpu|load|memory|disk|inodes|threads|open_files|network|pressure_cpu|pressure_memory|pressure_io"`
	// Points of the curve, in the order of their readings.
	Points []Point `yaml:"points" rule:"required"`
}

// Point is the score of one reading.
type Point struct {
	// At is the reading in percent.
	At int `yaml:"at" rule:"required,nonneg"`
	// Score of the resource there.
	Score int `yaml:"score" rule:"required,range=0-100"`
}

// LevelRules say how fast the level follows the score.
type LevelRules struct {
	// DownSamples is how many samples in a row must be worse before the level falls.
	DownSamples int `yaml:"down_samples" default:"2" rule:"positive"`
	// UpAfter is how long the score must be good enough before the level rises by one.
	UpAfter time.Duration `yaml:"up_after" default:"1m" rule:"positive"`
	// MaxUpAfter caps the doubling of up_after, which each relapse brings.
	MaxUpAfter time.Duration `yaml:"max_up_after" default:"30m" rule:"positive"`
	// Margin is how many points above a level's threshold the score must be to rise to it.
	Margin int `yaml:"margin" default:"3" rule:"range=0-20"`
}

// ModuleRules say which programs may register themselves as modules over HTTP.
type ModuleRules struct {
	// MaxRegistered is how many programs may; 0: none.
	MaxRegistered int `yaml:"max_registered" default:"100" rule:"nonneg"`
	// MaxLease is the longest time a heartbeat of a registered program may hold.
	MaxLease time.Duration `yaml:"max_lease" default:"1h" rule:"positive"`
}

// Feature is one feature of an application.
type Feature struct {
	// Name by which applications ask for it.
	Name string `yaml:"name" rule:"required,name"`
	// OffAt is the best level at which it is off.
	OffAt string `yaml:"off_at" default:"never" rule:"enum=never|LEVEL_1|LEVEL_2|LEVEL_3|EMERGENCY"`
}

// Hook sheds load at a level and worse ones: the plugin's step isolate sheds it, reintegrate takes that back.
type Hook struct {
	// Name of the hook, in logs and in the audit.
	Name string `yaml:"name" rule:"required,name"`
	// Level from which on the load is shed.
	Level string `yaml:"level" rule:"required,enum=LEVEL_1|LEVEL_2|LEVEL_3|EMERGENCY"`
	Use   `yaml:",inline"`
}

// defaultFeatures are those of an application that says nothing.
func defaultFeatures() []Feature {
	return []Feature{
		{"analytics", string(shivx.Level1)}, {"background_tasks", string(shivx.Level1)},
		{"ai_inference", string(shivx.Level2)}, {"web_search", string(shivx.Level2)},
		{"uploads", string(shivx.Level3)}, {"integrations", string(shivx.Level3)},
		{"memory_writes", string(shivx.LevelEmergency)}, {"chat", "never"},
	}
}

// checkResilience checks what concerns more than one key of the section and of the tokens.
func (d *decoder) checkResilience() {
	tokens, features, hooks, curves := d.names(), d.names(), d.names(), d.names()
	for i := range d.cfg.API.Tokens {
		t := &d.cfg.API.Tokens[i]
		tokens.add(&t.Name, t.Name, "token")
		if len(t.Modules) > 0 && (t.Role == "operator" || t.Role == "admin") {
			d.add(d.at(&t.Modules), fmt.Sprintf("the role %s may keep every module", t.Role), "delete \"modules\", or take the role app or viewer")
		}
	}
	r := &d.cfg.Resilience
	for i := range r.Features {
		features.add(&r.Features[i].Name, r.Features[i].Name, "feature")
	}
	for i := range r.Hooks {
		hooks.add(&r.Hooks[i].Name, r.Hooks[i].Name, "hook")
		d.checkUse(&r.Hooks[i].Use, "isolate")
	}
	for i := range r.Score.Curves {
		c := &r.Score.Curves[i]
		curves.add(&c.Resource, c.Resource, "curve")
		for j := 1; j < len(c.Points); j++ {
			p, before := &c.Points[j], c.Points[j-1]
			if p.At <= before.At {
				d.add(d.at(&p.At), "the points are not in the order of their readings", "each \"at\" must be greater than the one before")
			}
			if p.Score > before.Score {
				d.add(d.at(&p.Score), "the score rises with the reading", "each \"score\" must be at most the one before: more use is never healthier")
			}
		}
	}
	if l := &r.Levels; l.MaxUpAfter < l.UpAfter {
		at := any(&l.MaxUpAfter)
		if !d.has(at) {
			at = &l.UpAfter
		}
		d.add(d.at(at), "\"max_up_after\" is less than \"up_after\"", "raise \"max_up_after\" or lower \"up_after\"")
	}
}
