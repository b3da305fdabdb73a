package builtin

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// byteSize is a size such as 500MB: K, M, G and T, and KiB and so on, are powers of 1024; KB and so on of 1000.
type byteSize int64

var _ json.Unmarshaler = (*byteSize)(nil)

var sizeWord = regexp.MustCompile(`^(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?B)?$`)

// UnmarshalJSON reads a number with a unit.
func (b *byteSize) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	m := sizeWord.FindStringSubmatch(text)
	bad := fmt.Errorf("%s is not a size; write it with a unit, such as \"500MB\"", data)
	if m == nil || m[2] == "" && m[3] == "iB" {
		return bad
	}
	value, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return bad
	}
	base := 1024.0
	if m[3] == "B" {
		base = 1000
	}
	power := strings.Index("KMGT", strings.ToUpper(m[2])) + 1
	if m[2] == "" {
		power = 0
	}
	if value *= math.Pow(base, float64(power)); value >= math.MaxInt64 {
		return bad
	}
	*b = byteSize(value)
	return nil
}

// shownBytes is a size for people.
func shownBytes(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	value, i := float64(n)/1000, 0
	for ; value >= 999.95; i++ {
		value /= 1000
	}
	return fmt.Sprintf("%.1f %cB", value, units[i])
}

// freeTarget is how much is to be free: bytes, or a share of the file system.
type freeTarget struct {
	bytes byteSize
	share float64
}

var _ json.Unmarshaler = (*freeTarget)(nil)

// UnmarshalJSON reads a share or a size.
func (f *freeTarget) UnmarshalJSON(data []byte) error {
	if percent, ok := strings.CutSuffix(strings.Trim(string(data), `"`), "%"); ok {
		value, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
		if err != nil || value <= 0 || value >= 100 {
			return fmt.Errorf("%s is no share; write more than 0%% and less than 100%%", data)
		}
		f.share = value / 100
		return nil
	}
	if err := f.bytes.UnmarshalJSON(data); err != nil || f.bytes == 0 {
		return fmt.Errorf("%s is no target; write a share such as \"20%%\" or a size such as \"5GB\"", data)
	}
	return nil
}

// String returns the target for people.
func (f freeTarget) String() string {
	if f.share > 0 {
		return strconv.FormatFloat(f.share*100, 'f', -1, 64) + "%"
	}
	return shownBytes(int64(f.bytes))
}

func (f freeTarget) reached(r room) bool {
	if f.share > 0 {
		return float64(r.free) >= f.share*float64(r.size)
	}
	return r.free >= int64(f.bytes)
}

// room is how much of a file system is free for users without privileges, and its size without what is kept from
// them, as df shows them; in bytes.
type room struct{ free, size int64 }

func (r room) shown() string {
	return fmt.Sprintf("%s (%.1f%%)", shownBytes(r.free), 100*float64(r.free)/float64(max(r.size, 1)))
}

func roomOf(path string) (room, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return room{}, fmt.Errorf("how much is free at %s: %w", path, err)
	}
	used := st.Blocks - st.Bfree
	return room{free: int64(st.Bavail) * st.Bsize, size: int64(used+st.Bavail) * st.Bsize}, nil
}
