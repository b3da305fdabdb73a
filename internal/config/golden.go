package config

import (
	"path/filepath"
	"reflect"
	"time"
)

// Golden says what is backed up, where it is kept, and how it is restored.
type Golden struct {
	Store      GoldenStore       `yaml:"store"`
	Encryption *GoldenEncryption `yaml:"encryption"`
	// Parity, in percent of what is stored, repairs what a disk loses; 0: none.
	Parity int `yaml:"parity" default:"0" rule:"range=0-100"`
	// TrustedKeys are public keys, base64, whose goldens are believed beside those that this host has signed.
	TrustedKeys []string `yaml:"trusted_keys" rule:"signkey,unique"`
	// Sets of what is backed up together; a list replaces the default one whole.
	Sets []GoldenSet `yaml:"sets" default:"(system: the folder of this file, the state of all components, and the audit logs)"`
}

// GoldenStore is where goldens are kept; exactly one of path and s3 is set. Without the section it is golden below paths.var.
type GoldenStore struct {
	// Path of a folder; relative to the file's folder. One on another disk survives this one.
	Path string        `yaml:"path" rule:"kind,path"`
	S3   *GoldenBucket `yaml:"s3" rule:"kind"`
}

// GoldenBucket is a bucket of a server that speaks S3.
type GoldenBucket struct {
	// Endpoint is the server, such as https://s3.example.org.
	Endpoint string `yaml:"endpoint" rule:"required,origin"`
	// Bucket that exists already.
	Bucket string `yaml:"bucket" rule:"required"`
	// Prefix of all names in the bucket, such as shivx/web-1.
	Prefix string `yaml:"prefix"`
	// Region of the bucket.
	Region string `yaml:"region" default:"us-east-1"`
	// AccessKey that may read, write and delete in the bucket; a reference such as env:NAME or file:PATH.
	AccessKey string `yaml:"access_key" rule:"required,secret"`
	// SecretKey of the access key; a reference such as env:NAME or file:PATH.
	SecretKey string `yaml:"secret_key" rule:"required,secret"`
	// CA is a file with the certificates, as PEM, by which the server is known; without it those of the system. Relative to the file's folder.
	CA string `yaml:"ca" rule:"path"`
}

// GoldenEncryption encrypts what is stored. A store is encrypted from its beginning or never.
type GoldenEncryption struct {
	// Recipients are public keys of age, or of SSH, each of whose owners can read the store. They count when the store is made; keep the identity of one away from this host.
	Recipients []string `yaml:"recipients" rule:"required,recipient,unique"`
	// Identity is the secret key of age by which this host reads and writes the store; a reference such as file:PATH.
	Identity string `yaml:"identity" rule:"required,secret"`
}

// GoldenSet is what is backed up and restored together.
type GoldenSet struct {
	// Name of the set; it stands in workflow ids.
	Name string `yaml:"name" rule:"required,name"`
	// Paths of files and folders, relative to the file's folder; such as configurations, memory and vector indexes.
	Paths []string `yaml:"paths" rule:"path,unique"`
	// Exclude lists glob patterns on absolute paths; "**" crosses folders. What matches is not stored, and a restore leaves it.
	Exclude []string `yaml:"exclude" rule:"absglob"`
	// States adds the state.paths of all components.
	States bool `yaml:"states" default:"false"`
	// Ledgers adds our own audit logs. A restore joins them and never overwrites newer records.
	Ledgers bool `yaml:"ledgers" default:"false"`
	// Sources are databases, and what else cannot be copied while it runs.
	Sources []GoldenSource `yaml:"sources"`
	// Services are components, in the order in which a restore starts them; it stops them in reverse.
	Services []string `yaml:"services" default:"(with states: the components that have state.paths, dependencies first)" rule:"unique"`
	// Validate says which files are read before they are put in place.
	Validate []GoldenValidation `yaml:"validate"`
	// Approval that a restore needs.
	Approval Approval `yaml:"approval" default:"(one person, whoever it is, within 15 minutes)"`
	// Keep says which backups are kept.
	Keep GoldenKeep `yaml:"keep"`
	// Snapshots are kept before something risky is done, and apart from the backups.
	Snapshots GoldenSnapshots `yaml:"snapshots"`
	// Schedule says when runs start by themselves.
	Schedule GoldenSchedule `yaml:"schedule"`
	// Timeout of a step that reads or copies, such as a backup.
	Timeout time.Duration `yaml:"timeout" default:"6h" rule:"positive"`
	// ServiceTimeout of the stop or the start of one service.
	ServiceTimeout time.Duration `yaml:"service_timeout" default:"2m" rule:"positive"`
}

// GoldenSource is stored in a state that its program finds consistent; exactly one of its kinds is set.
type GoldenSource struct {
	// Name of the source, in goldens and in messages.
	Name string `yaml:"name" rule:"required,name"`
	// Timeout of its export.
	Timeout time.Duration `yaml:"timeout" default:"30m" rule:"positive"`

	SQLite   *SQLiteSource   `yaml:"sqlite" rule:"kind"`
	Postgres *PostgresSource `yaml:"postgres" rule:"kind"`
	Redis    *RedisSource    `yaml:"redis" rule:"kind"`
	Command  *CommandSource  `yaml:"command" rule:"kind"`
}

// Kind returns the key of the source's kind, such as "sqlite"; "" when none is set. It stands in goldens.
func (s GoldenSource) Kind() string {
	v := reflect.ValueOf(s)
	for _, f := range fieldsOf(v.Type()) {
		if f.kind && !v.FieldByIndex(f.index).IsNil() {
			return f.key
		}
	}
	return ""
}

// SQLiteSource is an SQLite database, stored by its backup API while programs write to it.
type SQLiteSource struct {
	// Path of the database's file, not of a link to it; relative to the file's folder.
	Path string `yaml:"path" rule:"required,path"`
}

// PostgresSource is a PostgreSQL server, stored whole by a base backup with the log that makes it consistent, or one of its databases by pg_dump.
type PostgresSource struct {
	// Method base stores the data folder of the whole server; dump stores the databases as pg_dump writes them, which a restore loads once the server runs; when a restore fails after that, what it has loaded stays.
	Method string `yaml:"method" default:"base" rule:"enum=base|dump"`
	// DataDirectory of the server, for the method base.
	DataDirectory string `yaml:"data_directory" rule:"path"`
	// Databases to dump, for the method dump; none: the one that the connection string names.
	Databases []string `yaml:"databases" rule:"unique"`
	// DumpDirectory is where a restore puts the dumps before it loads them, for the method dump.
	DumpDirectory string `yaml:"dump_directory" default:"(dumps/SET/NAME below paths.var)" rule:"path"`
	// DSN is a URL or key=value connection string; it may be a reference (env:NAME, file:PATH). For the method base its user needs the attribute REPLICATION. Without it PostgreSQL's own rules hold.
	DSN string `yaml:"dsn" rule:"dsn,secret"`
	// RunAs is the account that runs PostgreSQL's programs, such as postgres; without it the agent's own.
	RunAs string `yaml:"run_as"`
	// Bin is the folder of PostgreSQL's programs; without it they are looked for.
	Bin string `yaml:"bin" rule:"path"`
}

// RedisSource is a Redis server, stored by BGSAVE.
type RedisSource struct {
	// Address is HOST:PORT or unix:PATH.
	Address string `yaml:"address" rule:"required,address"`
	// Username for AUTH; empty: the default user.
	Username string `yaml:"username"`
	// Password may be a reference (env:NAME, file:PATH).
	Password string `yaml:"password" rule:"secret"`
	// Dir is the server's folder as the agent sees it, where that is not what the server says, as with one in a container.
	Dir string `yaml:"dir" rule:"path"`
}

// CommandSource brings files into a consistent state by commands.
type CommandSource struct {
	// Pre is run before the files are read; it may write them, or stop whoever does.
	Pre *Command `yaml:"pre"`
	// Post is run after they were read, also when that failed; it must bear to run twice.
	Post *Command `yaml:"post"`
	// Paths that are read between the two, relative to the file's folder.
	Paths []string `yaml:"paths" rule:"required,path,unique"`
}

// GoldenValidation says how restored files are read before they are put in place; exactly one of format and command is set.
type GoldenValidation struct {
	// Match is a glob pattern on the absolute path; "**" crosses folders.
	Match string `yaml:"match" rule:"required,absglob"`
	// Format that the file must be in.
	Format string `yaml:"format" rule:"kind,enum=json|yaml|toml"`
	// Command must exit with 0. It sees the restored files at their paths before they are put there. {path} is replaced by each file that matches; without it the command is run once.
	Command *Command `yaml:"command" rule:"kind"`
}

// GoldenKeep says which backups are kept. One that any of these asks for stays.
type GoldenKeep struct {
	// Last keeps that many, the newest.
	Last int `yaml:"last" default:"3" rule:"positive"`
	// Daily keeps the newest of each of that many days; days without a backup do not count.
	Daily int `yaml:"daily" default:"7" rule:"nonneg"`
	// Weekly keeps the newest of each of that many weeks.
	Weekly int `yaml:"weekly" default:"4" rule:"nonneg"`
	// Monthly keeps the newest of each of that many months.
	Monthly int `yaml:"monthly" default:"6" rule:"nonneg"`
	// ImmutableDays is for how long nobody, not even by hand, removes a backup; 0: it may be at once.
	ImmutableDays int `yaml:"immutable_days" default:"0" rule:"range=0-36500"`
}

// GoldenSnapshots says when snapshots of a set are taken, and how many are kept.
type GoldenSnapshots struct {
	// Last keeps that many, the newest.
	Last int `yaml:"last" default:"5" rule:"positive"`
	// MaxAge removes older ones, but for the newest.
	MaxAge time.Duration `yaml:"max_age" default:"720h" rule:"positive"`
	// AtLockdown takes one when the guardian locks down.
	AtLockdown bool `yaml:"at_lockdown" default:"false"`
}

// GoldenSchedule says when runs of a set start by themselves.
type GoldenSchedule struct {
	// Backup is when the set is backed up, as five cron fields: minute hour day month weekday, such as "0 3 * * *"; "off": only when asked for.
	Backup string `yaml:"backup" default:"off" rule:"cron"`
	// Verify is when all that the store holds is verified, and repaired as far as there is parity; without it once a week, unless backup is off.
	Verify string `yaml:"verify" default:"(\"0 5 * * 0\", or off when backup is)" rule:"cron"`
	// TimeZone of both.
	TimeZone string `yaml:"timezone" default:"UTC" rule:"timezone"`
	// Jitter spreads the starts over this time, so that hosts do not begin at the same moment.
	Jitter time.Duration `yaml:"jitter" default:"5m" rule:"nonneg"`
}

// weekly is when a set is verified that is backed up by a schedule and does not say.
const weekly = "0 5 * * 0"

// never is a schedule that starts nothing.
const never = "off"

// GoldenSet returns the set of that name.
func (c *Config) GoldenSet(name string) (GoldenSet, bool) {
	for _, s := range c.Golden.Sets {
		if s.Name == name {
			return s, true
		}
	}
	return GoldenSet{}, false
}

// goldenPath is the folder of a store that nothing is said about.
func (c *Config) goldenPath() string { return filepath.Join(c.Paths.Var, "golden") }

// defaultSets is what is backed up when the file, which lies in dir, does not say. What the agent keeps in
// the folder state is left out, but for its audit logs: the store is there itself.
func defaultSets(dir, state string) []GoldenSet {
	s := GoldenSet{}
	setDefaults(reflect.ValueOf(&s).Elem())
	s.Name, s.States, s.Ledgers, s.Approval.Required, s.Schedule.Verify = "system", true, true, 1, never
	if dir != "" {
		s.Paths, s.Exclude = []string{dir}, []string{globOf(state) + "/" + own}
	}
	return []GoldenSet{s}
}

// stateful names the components whose files are below state.paths, dependencies first. What has them open
// must not run while they are swapped.
func (c *Config) stateful() (names []string) {
	for _, name := range c.Order() {
		if component, _ := c.Component(name); len(component.State.Paths) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// inheritGolden fills the defaults of the section that come from elsewhere in the file.
func (d *decoder) inheritGolden() {
	g := &d.cfg.Golden
	switch {
	case !d.has(&g.Store):
		g.Store.Path = d.cfg.goldenPath()
	case !d.has(&g.Store.Path):
		g.Store.Path = ""
	}
	if !d.has(&g.Sets) {
		g.Sets = defaultSets(d.dir, d.cfg.Paths.Var)
	}
	for i := range g.Sets {
		s := &g.Sets[i]
		for j := range s.Sources {
			if p := s.Sources[j].Postgres; p != nil && p.Method == "dump" && !d.has(&p.DumpDirectory) {
				p.DumpDirectory = filepath.Join(d.cfg.Paths.Var, "dumps", s.Name, s.Sources[j].Name)
			}
		}
		if s.States && !d.has(&s.Services) {
			s.Services = d.cfg.stateful()
		}
		if !d.has(&s.Approval) {
			s.Approval.Required = 1
		}
		if !d.has(&s.Schedule.Verify) {
			s.Schedule.Verify = never
			if s.Schedule.Backup != never {
				s.Schedule.Verify = weekly
			}
		}
	}
}
