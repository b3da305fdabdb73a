package config

import "time"

// Check is one health check; exactly one of its kinds is set.
type Check struct {
	// Name of the check, in findings and logs.
	Name string `yaml:"name" default:"(the kind)" rule:"name"`
	// Every is the time between two runs.
	Every time.Duration `yaml:"every" default:"(defaults.every)" rule:"positive"`
	// Timeout of one run.
	Timeout time.Duration `yaml:"timeout" default:"(defaults.timeout)" rule:"positive"`

	HTTP *HTTPCheck `yaml:"http" rule:"kind"`
	TCP  *TCPCheck  `yaml:"tcp" rule:"kind"`
	// Command passes when the program exits with 0.
	Command    *Command         `yaml:"command" rule:"kind"`
	Process    *ProcessCheck    `yaml:"process" rule:"kind"`
	Systemd    *SystemdCheck    `yaml:"systemd" rule:"kind"`
	PostgreSQL *PostgreSQLCheck `yaml:"postgresql" rule:"kind"`
	Redis      *RedisCheck      `yaml:"redis" rule:"kind"`
	Heartbeat  *HeartbeatCheck  `yaml:"heartbeat" rule:"kind"`
}

// HeartbeatCheck passes while the component's program sends heartbeats to the agent's HTTP
// interface (PUT /api/modules/NAME/heartbeat).
type HeartbeatCheck struct {
	// Lease is how long a heartbeat holds.
	Lease time.Duration `yaml:"lease" default:"30s" rule:"positive"`
}

// HTTPCheck passes when the answer has an expected status and, if set, contains the body.
type HTTPCheck struct {
	// URL to ask, http or https.
	URL string `yaml:"url" rule:"required,url"`
	// Method of the request.
	Method string `yaml:"method" default:"GET" rule:"enum=GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"`
	// Headers of the request; values may be references (env:NAME, file:PATH).
	Headers map[string]string `yaml:"headers" rule:"secret"`
	// Status codes that pass.
	Status []int `yaml:"status" default:"(200–299)" rule:"range=100-599,unique"`
	// Body is text that the answer must contain.
	Body string `yaml:"body"`
	// Insecure skips the verification of the server's certificate.
	Insecure bool `yaml:"insecure" default:"false"`
}

// TCPCheck passes when a connection is made and, if set, the expected text is read after the sent one.
type TCPCheck struct {
	// Address is HOST:PORT or unix:PATH.
	Address string `yaml:"address" rule:"required,address"`
	// Send is text written after connecting.
	Send string `yaml:"send"`
	// Expect is text that must be read.
	Expect string `yaml:"expect"`
}

// ProcessCheck passes while the process lives; its exit is seen at once.
// Exactly one of pid_file and name is set.
type ProcessCheck struct {
	// PIDFile holds the process id; relative to the file's folder.
	PIDFile string `yaml:"pid_file" rule:"kind,path"`
	// Name is the process' name as in /proc/PID/comm or the base of its executable.
	Name string `yaml:"name" rule:"kind"`
}

// SystemdCheck passes while the unit is active.
type SystemdCheck struct {
	// Unit is the unit's full name, such as nginx.service.
	Unit string `yaml:"unit" rule:"required,unit"`
}

// PostgreSQLCheck passes when the query answers.
type PostgreSQLCheck struct {
	// DSN is a URL or key=value connection string; it may be a reference (env:NAME, file:PATH).
	DSN string `yaml:"dsn" rule:"required,dsn,secret"`
	// Query to run.
	Query string `yaml:"query" default:"SELECT 1"`
}

// RedisCheck passes when PING is answered and, if writable is set, the server accepts writes.
type RedisCheck struct {
	// Address is HOST:PORT or unix:PATH.
	Address string `yaml:"address" rule:"required,address"`
	// Username for AUTH; empty: the default user.
	Username string `yaml:"username"`
	// Password may be a reference (env:NAME, file:PATH).
	Password string `yaml:"password" rule:"secret"`
	// Writable also fails while the server loads its data or refuses writes.
	Writable bool `yaml:"writable" default:"false"`
}
