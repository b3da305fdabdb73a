package format_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx/internal/golden/format"
)

// same compares entries, of which one may have slices that are empty but not nil.
func same(t testing.TB, want, got format.Entry) {
	t.Helper()
	require.Equal(t, want.Data == nil, got.Data == nil, "sparse or not")
	for _, e := range []*format.Entry{&want, &got} {
		if len(e.Blocks) == 0 {
			e.Blocks = nil
		}
		xattrs := e.Xattrs
		e.Xattrs = nil
		for _, x := range xattrs {
			e.Xattrs = append(e.Xattrs, format.Xattr{Name: x.Name, Value: append([]byte{}, x.Value...)})
		}
	}
	require.Equal(t, want, got)
}

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	var again format.Entry // one for all, as in a reader
	check := func(e format.Entry) {
		line, err := format.AppendEntry([]byte("before"), &e)
		require.NoError(t, err)
		line = line[len("before"):]
		require.Equal(t, len(line)-1, bytes.IndexByte(line, '\n'), "one line: %q", line)
		require.NoError(t, format.ParseEntry(&again, line), "%s", line)
		same(t, e, again)
		require.NoError(t, format.ParseEntry(&again, line[:len(line)-1]), "without its newline")
		sameAsJSON(t, &again, line)
	}
	for _, e := range samples() {
		check(e)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		check(random(r))
	}
}

// sameAsJSON compares an entry with what a general parser reads.
func sameAsJSON(t testing.TB, e *format.Entry, line []byte) {
	t.Helper()
	var j struct {
		Path, Link string
		PathCoded  []byte `json:"path_base64"`
		LinkCoded  []byte `json:"link_base64"`
		Type       format.Type
		Mode       string
		UID, GID   uint32
		MTime      string
		Size       int64
		Sum        format.Hash `json:"sha256"`
		Blocks     []format.Hash
		Data       [][2]int64
		Xattrs     map[string][]byte
		Coded      map[string][]byte `json:"xattrs_base64"`
		Hint       []json.Number
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&j), "%s", line)
	require.Equal(t, e.Path, j.Path+string(j.PathCoded))
	require.Equal(t, e.Link, j.Link+string(j.LinkCoded))
	require.Equal(t, e.Type, j.Type)
	mode, _ := strconv.ParseUint("0"+j.Mode, 8, 32)
	require.EqualValues(t, e.Mode, mode)
	require.Equal(t, []uint32{e.UID, e.GID}, []uint32{j.UID, j.GID})
	require.Equal(t, e.Size, j.Size)
	require.Equal(t, e.Sum, j.Sum)
	require.Len(t, j.Blocks, len(e.Blocks))
	for i := range j.Blocks {
		require.Equal(t, e.Blocks[i], j.Blocks[i])
	}
	require.Len(t, j.Data, len(e.Data))
	for i, x := range j.Data {
		require.Equal(t, [2]int64{e.Data[i].Offset, e.Data[i].Length}, x)
	}
	require.Equal(t, len(e.Xattrs), len(j.Xattrs)+len(j.Coded))
	for _, x := range e.Xattrs {
		value, ok := j.Xattrs[x.Name]
		if !ok {
			value, ok = j.Coded[base64.StdEncoding.EncodeToString([]byte(x.Name))]
		}
		require.True(t, ok)
		require.Equal(t, string(x.Value), string(value))
	}
	if e.Hint != (format.Hint{}) {
		require.Equal(t, fmt.Sprint(j.Hint), fmt.Sprintf("[%d %d %d]", e.Hint.Device, e.Hint.Inode, e.Hint.Changed))
	}
}

// A line has one form: a changed line is refused or is another entry's one form.
func TestEveryChangedByteIsSeen(t *testing.T) {
	var e format.Entry
	var accepted int
	for _, sample := range samples() {
		line, err := format.AppendEntry(nil, &sample)
		require.NoError(t, err)
		for i, old := range line {
			for b := range 256 {
				line[i] = byte(b)
				if byte(b) == old || format.ParseEntry(&e, line) != nil {
					continue
				}
				accepted++
				again, err := format.AppendEntry(nil, &e)
				if err != nil || !bytes.Equal(again, line) {
					t.Fatalf("accepted %q\nwrites   %q: %v", line, again, err)
				}
			}
			line[i] = old
		}
		for i := range line[:len(line)-1] {
			require.Error(t, format.ParseEntry(&e, line[:i]), "cut short: %s", line[:i])
			longer := string(line[:i]) + string(line[i]) + string(line[i:])
			if format.ParseEntry(&e, []byte(longer)) == nil {
				again, err := format.AppendEntry(nil, &e)
				require.NoError(t, err)
				require.Equal(t, longer, string(again))
			}
		}
	}
	require.Greater(t, accepted, 1000, "a changed letter of a name is another entry")
}

func TestEntryIsRefused(t *testing.T) {
	at := time.Unix(1, 2)
	file := format.Entry{Path: "/a", Type: format.TypeFile, Size: 1, Sum: hash(1), ModTime: at}
	cases := map[string]func(*format.Entry){
		"path is not absolute":  func(e *format.Entry) { e.Path = "a" },
		"no path":               func(e *format.Entry) { e.Path = "" },
		"dots up":               func(e *format.Entry) { e.Path = "/a/../b" },
		"dots at the end":       func(e *format.Entry) { e.Path = "/a/.." },
		"dot":                   func(e *format.Entry) { e.Path = "/./a" },
		"two slashes":           func(e *format.Entry) { e.Path = "//a" },
		"slash at the end":      func(e *format.Entry) { e.Path = "/a/" },
		"NUL in the path":       func(e *format.Entry) { e.Path = "/a\x00" },
		"path too long":         func(e *format.Entry) { e.Path = "/" + strings.Repeat("a", format.MaxPath) },
		"type":                  func(e *format.Entry) { e.Type = "device" },
		"no type":               func(e *format.Entry) { e.Type = "" },
		"mode":                  func(e *format.Entry) { e.Mode = 0o10000 },
		"size":                  func(e *format.Entry) { e.Size = -1 },
		"size without blocks":   func(e *format.Entry) { e.Size = format.BlockSize + 1 },
		"greatest size":         func(e *format.Entry) { e.Size = 1<<63 - 1 },
		"one block too many":    func(e *format.Entry) { e.Blocks = []format.Hash{hash(1)} },
		"nothing has a hash":    func(e *format.Entry) { e.Size = 0 },
		"extent beyond size":    func(e *format.Entry) { e.Data = []format.Extent{{Length: 2}} },
		"extent overflows":      func(e *format.Entry) { e.Data = []format.Extent{{Offset: 1, Length: 1<<63 - 1}} },
		"empty extent":          func(e *format.Entry) { e.Data = []format.Extent{{}} },
		"extents overlap":       func(e *format.Entry) { e.Size = 9; e.Data = []format.Extent{{0, 2}, {1, 2}} },
		"extents out of order":  func(e *format.Entry) { e.Size = 9; e.Data = []format.Extent{{4, 2}, {1, 2}} },
		"link of a file":        func(e *format.Entry) { e.Link = "/b" },
		"folder with content":   func(e *format.Entry) { e.Type = format.TypeDir },
		"symlink to nothing":    func(e *format.Entry) { *e = format.Entry{Path: "/a", Type: format.TypeSymlink} },
		"NUL in a symlink":      func(e *format.Entry) { *e = format.Entry{Path: "/a", Type: format.TypeSymlink, Link: "a\x00"} },
		"hard link to nothing":  func(e *format.Entry) { *e = format.Entry{Path: "/a", Type: format.TypeHardlink} },
		"hard link to itself":   func(e *format.Entry) { *e = format.Entry{Path: "/a", Type: format.TypeHardlink, Link: "/a"} },
		"hard link forward":     func(e *format.Entry) { *e = format.Entry{Path: "/a", Type: format.TypeHardlink, Link: "/b"} },
		"hard link up":          func(e *format.Entry) { *e = format.Entry{Path: "/b", Type: format.TypeHardlink, Link: "/../a"} },
		"hard link with a mode": func(e *format.Entry) { *e = format.Entry{Path: "/b", Type: format.TypeHardlink, Link: "/a", Mode: 1} },
		"attribute twice":       func(e *format.Entry) { e.Xattrs = []format.Xattr{{Name: "user.a"}, {Name: "user.a"}} },
		"attributes unsorted":   func(e *format.Entry) { e.Xattrs = []format.Xattr{{Name: "user.b"}, {Name: "user.a"}} },
		"attribute, no name":    func(e *format.Entry) { e.Xattrs = []format.Xattr{{}} },
		"attribute, NUL":        func(e *format.Entry) { e.Xattrs = []format.Xattr{{Name: "user.a\x00"}} },
		"attribute, long name":  func(e *format.Entry) { e.Xattrs = []format.Xattr{{Name: strings.Repeat("a", 256)}} },
		"attribute, long value": func(e *format.Entry) { e.Xattrs = []format.Xattr{{Name: "a", Value: make([]byte, 1<<16+1)}} },
	}
	line, err := format.AppendEntry(nil, &file)
	require.NoError(t, err, "without a change it is accepted")
	require.Contains(t, string(line), `"mtime":"1.000000002"`)
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			e := file
			change(&e)
			dst, err := format.AppendEntry([]byte("kept"), &e)
			require.Error(t, err)
			require.Equal(t, "kept", string(dst))
		})
	}
}

func TestWrittenOtherwiseIsRefused(t *testing.T) {
	const attr = `"mode":"0644","uid":0,"gid":0,"mtime":"1.000000000"`
	sum := hash(1).String()
	nothing := format.Sum(nil).String()
	cases := []struct{ name, line string }{
		{"space", `{"path":"/a", "type":"dir",` + attr + `}`},
		{"order", `{"type":"dir","path":"/a",` + attr + `}`},
		{"no mode", `{"path":"/a","type":"dir","uid":0,"gid":0,"mtime":"1.000000000"}`},
		{"leading zero", `{"path":"/a","type":"dir","mode":"0644","uid":00,"gid":0,"mtime":"1.000000000"}`},
		{"uid too great", `{"path":"/a","type":"dir","mode":"0644","uid":4294967296,"gid":0,"mtime":"1.000000000"}`},
		{"uid wraps", `{"path":"/a","type":"dir","mode":"0644","uid":18446744073709551616,"gid":0,"mtime":"1.000000000"}`},
		{"mode of five", `{"path":"/a","type":"dir","mode":"00644","uid":0,"gid":0,"mtime":"1.000000000"}`},
		{"time short", `{"path":"/a","type":"dir","mode":"0644","uid":0,"gid":0,"mtime":"1.0"}`},
		{"time of minus nothing", `{"path":"/a","type":"dir","mode":"0644","uid":0,"gid":0,"mtime":"-0.000000000"}`},
		{"time too great", `{"path":"/a","type":"dir","mode":"0644","uid":0,"gid":0,"mtime":"9223372036854775808.000000000"}`},
		{"escaped slash", `{"path":"\/a","type":"dir",` + attr + `}`},
		{"escaped letter", `{"path":"/\u0061","type":"dir",` + attr + `}`},
		{"escape in upper case", `{"path":"/\u001F","type":"dir",` + attr + `}`},
		{"short escape", `{"path":"/\n","type":"dir",` + attr + `}`},
		{"escaped NUL", `{"path":"/\u0000","type":"dir",` + attr + `}`},
		{"base64 of UTF-8", `{"path_base64":"L2E=","type":"dir",` + attr + `}`},
		{"base64 with more bits", `{"path_base64":"L/9=","type":"dir",` + attr + `}`},
		{"base64 with a line break", `{"path_base64":"L2F\u000a/","type":"dir",` + attr + `}`},
		{"no UTF-8", "{\"path\":\"/\xff\",\"type\":\"dir\"," + attr + `}`},
		{"hash in upper case", `{"path":"/a","type":"file",` + attr + `,"size":1,"sha256":"` + strings.ToUpper(sum) + `"}`},
		{"no hash", `{"path":"/a","type":"file",` + attr + `,"size":1}`},
		{"size below zero", `{"path":"/a","type":"file",` + attr + `,"size":-1,"sha256":"` + sum + `"}`},
		{"empty blocks", `{"path":"/a","type":"file",` + attr + `,"size":1,"sha256":"` + sum + `","blocks":[]}`},
		{"empty attributes", `{"path":"/a","type":"dir",` + attr + `,"xattrs":{}}`},
		{"attributes in base64 without need", `{"path":"/a","type":"dir",` + attr + `,"xattrs_base64":{"YQ==":""}}`},
		{"empty hint", `{"path":"/a","type":"dir",` + attr + `,"hint":[0,0,0]}`},
		{"field twice", `{"path":"/a","type":"dir",` + attr + `,"hint":[0,0,1],"hint":[0,0,1]}`},
		{"extent of three", `{"path":"/a","type":"file",` + attr + `,"size":0,"sha256":"` + nothing + `","data":[[0,1,2]]}`},
		{"more after it", `{"path":"/a","type":"dir",` + attr + `}}`},
		{"two newlines", `{"path":"/a","type":"dir",` + attr + "}\n\n"},
		{"nothing", ""},
	}
	var e format.Entry
	require.NoError(t, format.ParseEntry(&e, []byte(`{"path":"/a","type":"dir",`+attr+`}`)))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.ErrorIs(t, format.ParseEntry(&e, []byte(c.line)), format.ErrDamaged, c.line)
		})
	}
	t.Run("later version", func(t *testing.T) {
		for _, line := range []string{
			`{"path":"/a","type":"dir",` + attr + `,"flags":7}`,
			`{"path":"/a","type":"dir",` + attr + `,"hint":[0,0,1],"flags":{"a":[1]}}`,
			`{"path":"/a","type":"device",` + attr + `}`,
		} {
			require.ErrorIs(t, format.ParseEntry(&e, []byte(line)), format.ErrVersion, line)
		}
	})
}

func TestASparseFileHasHoles(t *testing.T) {
	e := format.Entry{Type: format.TypeFile, Size: 1 << 50, Data: []format.Extent{{0, 1 << 20}, {1 << 30, 1}}}
	require.EqualValues(t, 1<<20+1, e.Stored())
	require.Equal(t, 2, e.BlockCount())
	e.Sum, e.Size, e.Data = hash(1), 7, nil
	require.EqualValues(t, 7, e.Stored())
	require.Equal(t, hash(1), e.Block(0))
	e.Blocks = []format.Hash{hash(2), hash(3)}
	require.Equal(t, hash(3), e.Block(1))
}
