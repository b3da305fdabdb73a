package config

import "time"

// Guardian says which logs are read, who counts as an attacker, and how sources are kept out.
type Guardian struct {
	// Enabled turns the guardian on.
	Enabled bool `yaml:"enabled" default:"true"`
	// Allow lists addresses and networks that are never isolated, also in a lockdown; loopback always is.
	Allow []string `yaml:"allow" rule:"source,unique"`
	// TrustedProxies lists addresses and networks whose X-Forwarded-For and X-Real-IP are believed.
	TrustedProxies []string `yaml:"trusted_proxies" rule:"source,unique"`
	// Logs to read.
	Logs   []Log       `yaml:"logs"`
	Syslog SyslogInput `yaml:"syslog"`
	Rules  ThreatRules `yaml:"rules"`
	// Terms of isolation for the first offence, the second and so on; the last holds for all after it.
	Terms []time.Duration `yaml:"terms" default:"(10m, 1h, 6h, 24h, 168h)" rule:"positive"`
	// Remember is how long an offence counts towards the next term.
	Remember time.Duration `yaml:"remember" default:"720h" rule:"positive"`
	// StaleAfter is the age of an event beyond which it isolates nobody any more.
	StaleAfter time.Duration `yaml:"stale_after" default:"10m" rule:"positive"`
	Nftables   Nftables      `yaml:"nftables"`
	// DenyFiles are written at each change, for servers that read who is denied from a file.
	DenyFiles []DenyFile   `yaml:"deny_files"`
	Defense   DefenseRules `yaml:"defense"`
	Integrity Integrity    `yaml:"integrity"`
	// Budgets of processes and cgroups; beyond one is a threat.
	Budgets []Budget `yaml:"budgets"`
}

// Log is one log to read; exactly one of file and journal is set.
type Log struct {
	// Name of the log, in events and in the status.
	Name string `yaml:"name" rule:"required,name"`
	// File to follow, over rotations; relative to the file's folder.
	File string `yaml:"file" rule:"kind,path"`
	// Journal reads the messages of these systemd units or identifiers, such as ssh.service.
	Journal []string `yaml:"journal" rule:"kind,unique"`
	// Format of the lines.
	Format string `yaml:"format" rule:"required,enum=sshd|pam|nginx-access|nginx-error|apache-access|apache-error|caddy|traefik|haproxy|dovecot|regexp"`
	// Mode aggressive also counts connections given up before a login, and protocol errors.
	Mode string `yaml:"mode" default:"normal" rule:"enum=normal|aggressive"`
	// Pattern is a regular expression of Go for the format regexp, with the group (?P<host>…) and, as wanted, time, user, status, method, path and agent.
	Pattern string `yaml:"pattern"`
	// Kind of what a line means that matches the pattern.
	Kind string `yaml:"kind" default:"failure" rule:"enum=request|failure|success|probe|denied"`
	// TimeLayout of the group time, as in Go's package time.
	TimeLayout string `yaml:"time_layout" default:"2006-01-02T15:04:05Z07:00"`
	// QuietAfter is how long nothing may be read before that is an alarm; 0s: for ever.
	QuietAfter time.Duration `yaml:"quiet_after" default:"0s" rule:"nonneg"`
	// FromStart reads a file from its beginning when it is seen for the first time; else from its end.
	FromStart bool `yaml:"from_start" default:"false"`
}

// SyslogInput receives lines over the network; each is read in the format of its program.
type SyslogInput struct {
	// Listen is the address HOST:PORT to listen on, for UDP and TCP; "off": none.
	Listen string `yaml:"listen" default:"off" rule:"listen"`
	// From lists who may send; others are dropped and counted.
	From []string `yaml:"from" default:"(loopback)" rule:"source,unique"`
	// Formats that are recognised by their program's name.
	Formats []string `yaml:"formats" default:"(sshd)" rule:"enum=sshd|pam|nginx-access|nginx-error|apache-access|apache-error|caddy|traefik|haproxy|dovecot,unique"`
}

// ThreatRules are the thresholds. A warning isolates nobody.
type ThreatRules struct {
	// MaxSources is how many sources are kept in mind; the memory for it is bounded.
	MaxSources int `yaml:"max_sources" default:"200000" rule:"positive"`
	// RequestsWarning is how many requests per minute of one source are recorded.
	RequestsWarning int `yaml:"requests_warning" default:"100" rule:"positive"`
	// RequestsCritical is how many requests per minute of one source isolate it.
	RequestsCritical int `yaml:"requests_critical" default:"500" rule:"positive"`
	// FailuresWarning is how many failed logins of one source within failure_window are recorded.
	FailuresWarning int `yaml:"failures_warning" default:"5" rule:"positive"`
	// FailuresCritical is how many failed logins of one source within failure_window isolate it.
	FailuresCritical int `yaml:"failures_critical" default:"10" rule:"positive"`
	// FailureWindow is the time over which failures are counted.
	FailureWindow time.Duration `yaml:"failure_window" default:"10m" rule:"positive"`
	// SlowFailures within slow_window are a slow brute force; a success of the same account takes its failures back.
	SlowFailures int `yaml:"slow_failures" default:"20" rule:"positive"`
	// SlowWindow is the time over which slow failures are counted.
	SlowWindow time.Duration `yaml:"slow_window" default:"24h" rule:"positive"`
	// SprayedAccounts is how many different accounts of one source's failures within slow_window make a spraying.
	SprayedAccounts int `yaml:"sprayed_accounts" default:"8" rule:"positive"`
	// ScannerWarning is the score of probes and not-founds of one source that is recorded; the score halves every scanner_half_life.
	ScannerWarning int `yaml:"scanner_warning" default:"20" rule:"positive"`
	// ScannerCritical is the score that isolates.
	ScannerCritical int `yaml:"scanner_critical" default:"60" rule:"positive"`
	// ScannerHalfLife of the score.
	ScannerHalfLife time.Duration  `yaml:"scanner_half_life" default:"30m" rule:"positive"`
	Weights         ScannerWeights `yaml:"scanner_weights"`
	// NetworkSources is how many more different sources of one IPv4 /24 or IPv6 /48 keep failing or probing than log in, within slow_window, for a network's attack; half of it is a warning. A source counts from its third failure or probe on, or at once by a probe path, a tool's signature or after a warning of its own.
	NetworkSources int `yaml:"network_sources" default:"20" rule:"positive"`
	// ElevatedPercent is what is left of each threshold in the mode ELEVATED.
	ElevatedPercent int `yaml:"elevated_percent" default:"50" rule:"range=10-100"`
}

// ScannerWeights are the points of one event each.
type ScannerWeights struct {
	// NotFound is for each path not found that the source has not asked for before.
	NotFound int `yaml:"not_found" default:"1" rule:"nonneg"`
	// ProbePath is for each distinct path that only scanners ask for, such as /.env.
	ProbePath int `yaml:"probe_path" default:"15" rule:"nonneg"`
	// Tool is for the first request whose user agent names a scanner.
	Tool int `yaml:"tool" default:"20" rule:"nonneg"`
	// Probe is for malformed requests, cut-off handshakes and the like.
	Probe int `yaml:"probe" default:"6" rule:"nonneg"`
	// Denied is for access that the server's own rules refused.
	Denied int `yaml:"denied" default:"4" rule:"nonneg"`
	// Paths are further paths that only scanners ask for; "*" stands for any text.
	Paths []string `yaml:"paths" rule:"unique"`
	// Tools are further words in the user agents of scanners.
	Tools []string `yaml:"tools" rule:"unique"`
}

// Nftables keeps sources out at the packet level, in a table of its own.
type Nftables struct {
	// Enabled needs the capability CAP_NET_ADMIN; auto: where it can be had.
	Enabled string `yaml:"enabled" default:"auto" rule:"enum=auto|on|off"`
	// Table of the family inet; nothing else may use it.
	Table string `yaml:"table" default:"shivx" rule:"name"`
}

// DenyFile is a file with the isolated sources.
type DenyFile struct {
	// Name of the file, in the status.
	Name string `yaml:"name" rule:"required,name"`
	// Path of the file; relative to the configuration's folder.
	Path string `yaml:"path" rule:"required,path"`
	// Format: plain has one source a line; nginx has deny SOURCE;
	Format string `yaml:"format" default:"plain" rule:"enum=plain|nginx|apache|haproxy"`
	// Reload is run after a change.
	Reload *Command `yaml:"reload"`
}

// DefenseRules say when the mode changes.
type DefenseRules struct {
	// Threats of the level high or critical within window make the mode ELEVATED.
	Threats int `yaml:"threats" default:"5" rule:"positive"`
	// Window over which they are counted; ELEVATED ends when there were none for as long.
	Window time.Duration `yaml:"window" default:"10m" rule:"positive"`
	// ConfirmWithin is how long a lockdown lasts unless a person confirms it; 0s: it needs no confirmation.
	ConfirmWithin time.Duration `yaml:"confirm_within" default:"10m" rule:"nonneg"`
}

// Integrity watches files for tampering.
type Integrity struct {
	// Paths of files and folders to watch; relative to the file's folder. Links are not followed: of a path that is a link the
	// link alone is watched, so what it leads to must be named, too, such as /usr/bin beside /bin; else the agent refuses to start.
	Paths []string `yaml:"paths" rule:"path,unique"`
	// Exclude lists glob patterns relative to each path; "**" crosses folders.
	Exclude []string `yaml:"exclude" rule:"relglob"`
	// Every is the time between two verifications of everything; changes that the kernel tells of are verified at once.
	Every time.Duration `yaml:"every" default:"1h" rule:"positive"`
	// OnTampering says what is done: lockdown, or alert alone.
	OnTampering string `yaml:"on_tampering" default:"lockdown" rule:"enum=lockdown|alert"`
	// MaxTicket is the longest time for which changes may be announced.
	MaxTicket time.Duration `yaml:"max_ticket" default:"24h" rule:"positive"`
}

// Budget is what a process, an account or a cgroup may use; exactly one of process, user and cgroup is set. The agent itself and what it was started by are never stopped.
type Budget struct {
	// Name of the budget, in events.
	Name string `yaml:"name" rule:"required,name"`
	// Process is a glob pattern on the program's path, such as /opt/app/*; a script's program is its interpreter. CPU and memory are judged for each process by itself, processes for all that match.
	Process string `yaml:"process" rule:"kind,absglob"`
	// User is the name or number of the account whose processes share the budget.
	User string `yaml:"user" rule:"kind"`
	// Cgroup is a glob pattern on the path below the cgroup root, such as system.slice/app.service.
	Cgroup string `yaml:"cgroup" rule:"kind,relglob"`
	// CPU in percent of one core, 0: no limit.
	CPU int `yaml:"cpu" default:"0" rule:"nonneg"`
	// MemoryMB is the resident memory in megabytes, 0: no limit. Of an account memory that is shared counts once, of a cgroup the cache of files does not count.
	MemoryMB int `yaml:"memory_mb" default:"0" rule:"nonneg"`
	// Processes is how many there may be, 0: no limit.
	Processes int `yaml:"processes" default:"0" rule:"nonneg"`
	// For is how long it must be beyond the budget, short dips aside. Memory and processes beyond it that would double within
	// this time (at most a minute), more than twice the processes, and memory about to use up the machine's are a bomb at once.
	For time.Duration `yaml:"for" default:"30s" rule:"positive"`
	// Action: alert tells alone; freeze stops a cgroup's or program's processes until they are let go; limit sets the cgroup's own
	// limits, or freezes it where it has none; kill ends them. After six times within an hour it only tells, bombs aside.
	Action string `yaml:"action" default:"alert" rule:"enum=alert|freeze|limit|kill"`
}

// defaultTerms are the terms of isolation of who says nothing.
func defaultTerms() []time.Duration {
	return []time.Duration{10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}
}
