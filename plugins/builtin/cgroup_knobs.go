package builtin

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// freezeKnob stops all processes of a cgroup.
const freezeKnob = "cgroup.freeze"

// setting is one value in one file of a cgroup.
type setting struct {
	// Knob is the name of the file.
	Knob string `json:"knob"`
	// Key is the line of a file that has several: a device such as 8:0, or "default".
	Key string `json:"key,omitempty"`
	// Text is what is written, with the key.
	Text string `json:"text"`
}

func (s setting) sameFile(other setting) bool { return s.Knob == other.Knob && s.Key == other.Key }

// shown is the value for people; that of an empty file is "(empty)".
func (s setting) shown() string {
	if s.Text == "" {
		return "(empty)"
	}
	return s.Text
}

// knob is a file of a cgroup that a hook may write; see the kernel's
// Documentation/admin-guide/cgroup-v2.rst for the values.
type knob struct {
	// valid matches one value, or one line of a file with a line for each device.
	valid *regexp.Regexp
	wants string
	// unset is what a device is written that has no line; "" for files with one value.
	unset string
	// same returns the form in which two values are compared; nil: as they are.
	same func(string) string
}

var (
	weights  = `(?:[1-9]\d{0,3}|10000)`
	sizes    = regexp.MustCompile(`^(max|\d+[KMGTkmgt]?)$`)
	counts   = regexp.MustCompile(`^(max|\d+)$`)
	switches = regexp.MustCompile(`^[01]$`)
)

// knobs are all files that may be written. Missing on purpose are those that move processes,
// change the tree or cannot be put back.
func knobs() map[string]knob {
	list := map[string]knob{
		"cpu.weight":  {valid: regexp.MustCompile(`^` + weights + `$`), wants: "a weight from 1 to 10000"},
		"cpu.idle":    {valid: switches, wants: "0 or 1"},
		"cpu.max":     {valid: regexp.MustCompile(`^(max|\d+)( \d+)?$`), wants: `microseconds of each period, such as "20000 100000" for a fifth of one processor`, same: withPeriod},
		"cpuset.cpus": {valid: regexp.MustCompile(`^\d+(-\d+)?(,\d+(-\d+)?)*$`), wants: `a list of processors, such as "0-1,4"`},
		"io.weight":   {valid: regexp.MustCompile(`^((default )?` + weights + `|\d+:\d+ (default|` + weights + `))$`), wants: `a weight from 1 to 10000, or "8:0 100" for one device`, unset: "default"},
		"io.max": {
			valid: regexp.MustCompile(`^\d+:\d+( (rbps|wbps|riops|wiops)=(max|\d+))+$`),
			wants: `a device with limits, such as "8:0 rbps=10485760 wiops=100"`, unset: "rbps=max wbps=max riops=max wiops=max", same: sortedWords,
		},
		"pids.max": {valid: counts, wants: "a number, or max"},
		freezeKnob: {valid: switches, wants: "1, or 0"},
	}
	for _, name := range []string{"min", "low", "high", "max", "swap.high", "swap.max", "zswap.max"} {
		list["memory."+name] = knob{valid: sizes, wants: `bytes such as 512M, or max`, same: wholePages}
	}
	return list
}

// parseSetting returns the writes that an option of set asks for: one, or one for each line.
func parseSetting(name string, raw json.RawMessage) ([]setting, error) {
	all := knobs()
	k, known := all[name]
	option := "set." + name
	if !known {
		return nil, sdk.BadOption(option, settable(name, all), "is no file of a cgroup that may be set")
	}
	text, ok := plainValue(raw)
	if !ok || text == "" {
		return nil, sdk.BadOption(option, "write "+k.wants, "wants text or a whole number")
	}
	lines := []string{text}
	if k.unset != "" {
		lines = strings.Split(text, "\n")
	}
	var list []setting
	for _, line := range lines {
		line = strings.Join(strings.Fields(line), " ")
		if !k.valid.MatchString(line) {
			return nil, sdk.BadOption(option, "write "+k.wants, "%q cannot be written to it", line)
		}
		s := setting{Knob: name, Text: line}
		if k.unset != "" {
			if !strings.Contains(line, " ") {
				s.Text = "default " + line
			}
			s.Key, _, _ = strings.Cut(s.Text, " ")
		}
		if slices.ContainsFunc(list, s.sameFile) {
			return nil, sdk.BadOption(option, "write one line", "has two lines for %s", s.Key)
		}
		list = append(list, s)
	}
	return list, nil
}

// found returns the setting that content, the whole of the file of s, has in the place of s.
func (s setting) found(content string) setting {
	now := setting{Knob: s.Knob, Key: s.Key, Text: strings.TrimSpace(content)}
	if s.Key == "" {
		return now
	}
	now.Text = s.Key + " " + knobs()[s.Knob].unset
	for line := range strings.Lines(content) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == s.Key {
			now.Text = key + " " + value
		}
	}
	return now
}

// equals says whether writing s would change nothing; s is what the kernel shows.
func (s setting) equals(want setting) bool {
	k := knobs()[s.Knob]
	if s.Text == want.Text || k.same == nil {
		return s.Text == want.Text
	}
	if s.Knob == "io.max" { // what is not named stays as it is
		have := strings.Fields(s.Text)
		return !slices.ContainsFunc(strings.Fields(want.Text), func(w string) bool { return !slices.Contains(have, w) })
	}
	return k.same(s.Text) == k.same(want.Text)
}

// withPeriod adds the kernel's default period to a value of cpu.max.
func withPeriod(v string) string {
	if !strings.Contains(v, " ") {
		return v + " 100000"
	}
	return v
}

func sortedWords(v string) string {
	words := strings.Fields(v)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// wholePages returns a size as the kernel keeps it: in whole pages of 4 KiB, the least there are.
func wholePages(v string) string {
	const page = 4096
	digits := strings.TrimRight(v, "KMGTkmgt")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || len(v)-len(digits) > 1 {
		return v
	}
	if unit := v[len(digits):]; unit != "" {
		n <<= 10 * (1 + uint(strings.Index("kmgt", strings.ToLower(unit))))
	}
	return strconv.FormatUint(n/page*page, 10)
}
