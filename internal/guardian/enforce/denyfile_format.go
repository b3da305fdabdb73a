package enforce

import (
	"bytes"
	"net/netip"
	"os"
	"syscall"

	"github.com/gaissmai/bart"

	"github.com/shivx/shivx"
)

// line is what stands around the sources of a format.
type line struct{ head, before, after string }

// denyHead stands above the sources in formats that have comments.
const denyHead = "# Written by the ShivX guardian at each change: do not edit.\n"

func denyLine(format string) line {
	switch format {
	case "nginx":
		return line{denyHead, "deny ", ";"}
	case "apache":
		return line{denyHead, "Require not ip ", ""}
	case "haproxy":
		return line{denyHead, "", ""}
	}
	return line{}
}

// render returns the content of the file: the sources in order, those left out that a network already
// names, and the allow list.
func (d *DenyFile) render() []byte {
	l := denyLine(d.file.Format)
	var out bytes.Buffer
	out.WriteString(l.head)
	for _, p := range d.sources() {
		out.WriteString(l.before)
		out.WriteString(shivx.SourceString(p))
		out.WriteString(l.after + "\n")
	}
	return out.Bytes()
}

func (d *DenyFile) sources() []netip.Prefix {
	if d.lockdown {
		return Everybody(d.allow)
	}
	list := make([]netip.Prefix, 0, d.denied.Size())
	var last netip.Prefix
	for p := range d.denied.AllSorted() { // a network comes before what is in it
		if last.IsValid() && last.Overlaps(p) {
			continue
		}
		last = p
		list = append(list, Subtract(p, d.allow)...)
	}
	return list
}

// parse reads the sources of a file back; other lines are left out.
func (d *DenyFile) parse(content []byte) *bart.Lite {
	l, t := denyLine(d.file.Format), &bart.Lite{}
	for text := range bytes.Lines(content) {
		rest, ok := bytes.CutPrefix(bytes.TrimSuffix(text, []byte("\n")), []byte(l.before))
		if !ok {
			continue
		}
		if rest, ok = bytes.CutSuffix(rest, []byte(l.after)); !ok {
			continue
		}
		if p, err := netip.ParsePrefix(string(rest)); err == nil {
			t.Insert(p.Masked())
		} else if a, err := netip.ParseAddr(string(rest)); err == nil {
			t.Insert(netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return t
}

// keepOwner gives f the owner and group of the file at path, if there is one.
func keepOwner(f *os.File, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // none to take them from
	}
	old, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(old.Uid) == os.Geteuid() && int(old.Gid) == os.Getegid() {
		return nil
	}
	return f.Chown(int(old.Uid), int(old.Gid))
}
