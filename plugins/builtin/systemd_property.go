package builtin

import (
	"encoding/json"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shivx/shivx/plugins/sdk"
)

// notSet is how systemd says on the bus that a limit or a weight is not set.
const notSet = math.MaxUint64

// property is one property of a unit with the value it is to have.
type property struct {
	// name as in unit files, and on the bus.
	name, bus string
	value     uint64
	show      func(uint64) string
}

// propertyKind is a property that can be set at run time; see systemd.resource-control(5).
type propertyKind struct {
	bus   string
	read  func(string) (uint64, bool)
	show  func(uint64) string
	wants string
}

var (
	weightKind = propertyKind{read: readWeight, show: showNumber, wants: "a weight from 1 to 10000"}
	bytesKind  = propertyKind{read: readBytes, show: showBytes, wants: "bytes such as 512M, or infinity"}
	// limitKind is bytesKind for what systemd refuses to set to 0.
	limitKind = propertyKind{read: readSomeBytes, show: showBytes, wants: "bytes such as 512M, or infinity"}
)

func propertyKinds() map[string]propertyKind {
	return map[string]propertyKind{
		"CPUWeight":      weightKind,
		"IOWeight":       weightKind,
		"CPUQuota":       {bus: "CPUQuotaPerSecUSec", read: readQuota, show: showQuota, wants: `a share of one processor such as "20%"`},
		"MemoryMin":      bytesKind,
		"MemoryLow":      bytesKind,
		"MemoryHigh":     limitKind,
		"MemoryMax":      limitKind,
		"MemorySwapMax":  bytesKind,
		"MemoryZSwapMax": bytesKind,
		"TasksMax":       {read: readCount, show: showNumber, wants: "a number, or infinity"},
	}
}

// parseProperties returns the properties in the order of their names.
func parseProperties(given map[string]json.RawMessage) ([]property, error) {
	kinds := propertyKinds()
	var list []property
	for _, name := range slices.Sorted(maps.Keys(given)) {
		kind, known := kinds[name]
		option := "properties." + name
		if !known {
			return nil, sdk.BadOption(option, settable(name, kinds), "is no property that can be set")
		}
		text, ok := plainValue(given[name])
		if !ok {
			return nil, sdk.BadOption(option, "write "+kind.wants, "wants text or a whole number")
		}
		value, ok := kind.read(text)
		if !ok {
			return nil, sdk.BadOption(option, "write "+kind.wants, "%q is not a value of it", text)
		}
		p := property{name: name, bus: kind.bus, value: value, show: kind.show}
		if p.bus == "" {
			p.bus = name
		}
		list = append(list, p)
	}
	return list, nil
}

// propertyOnBus returns the property of a name on the bus, with a value.
func propertyOnBus(bus string, value uint64) property {
	for name, kind := range propertyKinds() {
		if kind.bus == bus || kind.bus == "" && name == bus {
			return property{name: name, bus: bus, value: value, show: kind.show}
		}
	}
	return property{name: bus, bus: bus, value: value, show: showNumber}
}

func readWeight(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n >= 1 && n <= 10000
}

func readCount(s string) (uint64, bool) {
	if s == "infinity" {
		return notSet, true
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n >= 1 && n < notSet
}

// quota is a share of one processor in percent, with at most two decimals.
var quota = regexp.MustCompile(`^(\d{1,6})(?:\.(\d{1,2}))?%$`)

// readQuota returns microseconds of processor time per second.
func readQuota(s string) (uint64, bool) {
	m := quota.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	hundredths, err := strconv.ParseUint(m[1]+(m[2] + "00")[:2], 10, 64)
	return hundredths * 100, err == nil && hundredths > 0
}

func showQuota(v uint64) string {
	if v == notSet {
		return "not set"
	}
	return strconv.FormatFloat(float64(v)/10000, 'f', -1, 64) + "%"
}

// readBytes reads a size with systemd's suffixes, which count by 1024.
func readBytes(s string) (uint64, bool) {
	if s == "infinity" {
		return notSet, true
	}
	unit := 0
	if i := strings.IndexAny(s, "KMGT"); i >= 0 && i == len(s)-1 {
		unit = 1 + strings.IndexByte("KMGT", s[i])
		s = s[:i]
	}
	n, err := strconv.ParseUint(s, 10, 64)
	shift := 10 * unit
	if err != nil || n > math.MaxUint64>>(shift+1) {
		return 0, false
	}
	return n << shift, true
}

func readSomeBytes(s string) (uint64, bool) {
	n, ok := readBytes(s)
	return n, ok && n > 0
}

// showBytes shows a size in the largest unit that gives a whole number.
func showBytes(v uint64) string {
	if v == notSet {
		return "infinity"
	}
	unit := -1
	for v > 0 && v%1024 == 0 && unit < 3 {
		v, unit = v/1024, unit+1
	}
	text := strconv.FormatUint(v, 10)
	if unit >= 0 {
		text += string("KMGT"[unit])
	}
	return text
}

func showNumber(v uint64) string {
	if v == notSet {
		return "not set"
	}
	return strconv.FormatUint(v, 10)
}
