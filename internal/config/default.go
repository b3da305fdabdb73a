package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Default returns what an empty file stands for: the default tags of the structs.
func Default() *Config {
	cfg := &Config{}
	setDefaults(reflect.ValueOf(cfg).Elem())
	cfg.Host = hostName()
	cfg.Resilience.Features = defaultFeatures()
	cfg.Guardian.Terms = defaultTerms()
	cfg.Guardian.Syslog.From = []string{"127.0.0.0/8", "::1/128"}
	cfg.Guardian.Syslog.Formats = []string{"sshd"}
	cfg.Resilience.FlagsFile = cfg.flagsFile()
	cfg.Golden.Store.Path = cfg.goldenPath()
	cfg.Golden.Sets = defaultSets("", "")
	cfg.Forecast.Subsystems = hostSubsystems(cfg.Forecast.Every)
	return cfg
}

func (c *Config) flagsFile() string { return filepath.Join(c.Paths.Var, "resilience", "flags.json") }

// DefaultComponent returns what an entry with a name alone stands for, in a file that is empty otherwise.
func DefaultComponent(name string) Component {
	c := Component{Name: name}
	setDefaults(reflect.ValueOf(&c).Elem())
	var d Defaults
	setDefaults(reflect.ValueOf(&d).Elem())
	c.Failures = d.Failures
	return c
}

// hostName is the machine's name in the form of a name; "" when it has none.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return strings.ToLower(name)
}

// setDefaults fills the keys of a section and of the sections in it; optional ones (pointers) stay unset.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		setDefault(v.FieldByIndex(f.index), f)
	}
}

func setDefault(v reflect.Value, f field) {
	switch {
	case v.Kind() == reflect.Struct:
		setDefaults(v)
	case f.literal():
		setLiteral(v, f.def)
	}
}

// setLiteral sets v to a default tag. The tags are constants; a test reads all of them.
func setLiteral(v reflect.Value, text string) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	var err error
	switch {
	case v.Type() == durationType:
		var d time.Duration
		d, err = time.ParseDuration(text)
		v.SetInt(int64(d))
	case v.Kind() == reflect.Int:
		var i int
		i, err = strconv.Atoi(text)
		v.SetInt(int64(i))
	case v.Kind() == reflect.Float64:
		var x float64
		x, err = strconv.ParseFloat(text, 64)
		v.SetFloat(x)
	case v.Kind() == reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	default:
		v.SetString(text)
	}
	if err != nil {
		panic("config: bad default tag " + strconv.Quote(text) + ": " + err.Error())
	}
}

// inherit fills the defaults that come from elsewhere in the file.
func (d *decoder) inherit(root *node) {
	cfg := d.cfg
	if !namePattern.MatchString(cfg.Host) && !d.has(&cfg.Host) {
		d.add(root, "the machine's host name "+strconv.Quote(cfg.Host)+" cannot be used as this agent's name", "set host: NAME")
	}
	if !d.has(&cfg.Paths.Var) {
		cfg.Paths.Var = filepath.Join(d.dir, cfg.Paths.Var)
	}
	if !d.has(&cfg.Resilience.FlagsFile) {
		cfg.Resilience.FlagsFile = cfg.flagsFile()
	}
	d.inheritGolden()
	d.inheritForecast()
	for i := range cfg.Components {
		c := &cfg.Components[i]
		if !d.has(&c.Failures) {
			c.Failures = cfg.Defaults.Failures
		}
		for j := range c.Checks {
			d.inheritCheck(&c.Checks[j])
		}
		for j := range c.Ladder {
			if s := &c.Ladder[j]; !d.has(&s.Name) {
				s.Name = s.Plugin
			}
		}
	}
	for i := range cfg.Notify {
		n := &cfg.Notify[i]
		if d.has(&n.Name) {
			continue
		}
		n.Name = "url"
		if n.Command != nil {
			n.Name = "command"
		}
	}
}

func (d *decoder) inheritCheck(c *Check) {
	if !d.has(&c.Name) {
		c.Name = c.Kind()
	}
	if !d.has(&c.Every) {
		c.Every = d.cfg.Defaults.Every
	}
	if !d.has(&c.Timeout) {
		c.Timeout = d.cfg.Defaults.Timeout
	}
	if c.Command != nil && !d.has(&c.Command.Timeout) {
		c.Command.Timeout = c.Timeout
	}
}

// Kind returns the key of the check's kind, such as "http"; "" when none is set.
func (c Check) Kind() string {
	v := reflect.ValueOf(c)
	for _, f := range fieldsOf(v.Type()) {
		if f.kind && !v.FieldByIndex(f.index).IsNil() {
			return f.key
		}
	}
	return ""
}
