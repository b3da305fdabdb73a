package integrity

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// form is the type of an entry; gone: there is none.
type form byte

const (
	gone form = iota
	file
	folderForm
	symlink
	fifo
	socket
	charDevice
	blockDevice
	otherForm
)

// formNames are the types as they are written.
var formNames = [...]string{"gone", "file", "folder", "symlink", "fifo", "socket", "char", "block", "other"}

func (f form) String() string { return formNames[f] }

// facts are what is compared; two entries with the same facts are the same.
type facts struct {
	form form
	// hashed is false for a file whose content could not be read.
	hashed   bool
	mode     uint32
	uid, gid uint32
	// size in bytes, of files and links.
	size int64
	sum  [32]byte
	// link is the target of a symbolic link.
	link string
	// rdev is the number of a device.
	rdev uint64
	// attrs is the hash of capabilities and access control lists; "": none.
	attrs string
	// trouble is why the entry or its content could not be read.
	trouble string
}

// entry is one entry of a baseline.
type entry struct {
	path string
	facts
	// mtime in nanoseconds is evidence, and not compared.
	mtime int64
}

// seen is an entry as it was found on the disk.
type seen struct {
	entry
	// ctime in nanoseconds: the kernel's own time of the last change. That of the folder when the
	// entry is gone; 0: not known.
	ctime int64
	links uint64
	// unstable is true when it was written while it was read.
	unstable bool
}

// line is an entry as it is written. A path or target that is not valid UTF-8 is in base64.
type line struct {
	Path   string `json:"path,omitempty"`
	Path64 []byte `json:"path64,omitempty"`
	Type   string `json:"type"`
	Mode   string `json:"mode,omitempty"`
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Size   int64  `json:"size"`
	MTime  int64  `json:"mtime_ns"`
	SHA256 string `json:"sha256,omitempty"`
	Link   string `json:"link,omitempty"`
	Link64 []byte `json:"link64,omitempty"`
	Rdev   uint64 `json:"rdev,omitempty"`
	Attrs  string `json:"attrs,omitempty"`
	Error  string `json:"error,omitempty"`
}

// MarshalJSON writes the entry as one line of a baseline.
func (e entry) MarshalJSON() ([]byte, error) {
	l := line{
		Type: e.form.String(), Mode: octal(e.mode), UID: e.uid, GID: e.gid, Size: e.size, MTime: e.mtime,
		SHA256: e.hash(), Rdev: e.rdev, Attrs: e.attrs, Error: e.trouble,
	}
	l.Path, l.Path64 = split(e.path)
	l.Link, l.Link64 = split(e.link)
	return json.Marshal(l)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (e *entry) UnmarshalJSON(data []byte) error {
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return err
	}
	*e = entry{path: l.Path + string(l.Path64), mtime: l.MTime, facts: facts{
		uid: l.UID, gid: l.GID, size: l.Size, link: l.Link + string(l.Link64), rdev: l.Rdev, attrs: l.Attrs, trouble: l.Error,
	}}
	known := false
	for i, name := range formNames {
		if name == l.Type {
			e.form, known = form(i), true
		}
	}
	mode, err := strconv.ParseUint(l.Mode, 8, 32)
	if err != nil || !known || e.path == "" {
		return errors.New("no entry of a baseline")
	}
	e.mode = uint32(mode)
	if l.SHA256 == "" {
		return nil
	}
	sum, err := hex.DecodeString(l.SHA256)
	if err != nil || len(sum) != len(e.sum) {
		return errors.New("no SHA-256 in an entry of a baseline")
	}
	e.sum, e.hashed = [32]byte(sum), true
	return nil
}

func split(s string) (text string, raw []byte) {
	if utf8.ValidString(s) {
		return s, nil
	}
	return "", []byte(s)
}

func octal(mode uint32) string { return fmt.Sprintf("%04o", mode) }

// hash is the SHA-256 of the content in hexadecimal digits, "" when there is none.
func (f facts) hash() string {
	if !f.hashed {
		return ""
	}
	return hex.EncodeToString(f.sum[:])
}

// compare lists the kinds in which now differs from was, the gravest first.
func compare(was, now facts) []Kind {
	switch {
	case was == now || was.form == gone && now.form == gone:
		return nil
	case was.form == gone:
		return []Kind{KindAdded}
	case now.form == gone && now.trouble == "":
		return []Kind{KindRemoved}
	case now.form == gone:
		return []Kind{KindContent} // it is there, as far as one can tell, and cannot be looked at
	case was.form != now.form && (was.form == symlink || now.form == symlink):
		return []Kind{KindSymlink}
	case was.form != now.form || was.rdev != now.rdev:
		return []Kind{KindType}
	}
	var kinds []Kind
	add := func(differs bool, k Kind) {
		if differs {
			kinds = append(kinds, k)
		}
	}
	add(was.link != now.link, KindSymlink)
	unread := was.trouble == "" && now.trouble != ""
	add(unread || was.hashed && was.sum != now.sum || !was.hashed && was.size != now.size, KindContent)
	add(was.uid != now.uid || was.gid != now.gid, KindOwner)
	add(was.mode != now.mode || was.attrs != now.attrs, KindMode)
	return kinds
}

// differences has each fact that differs, with what was expected and what is there.
func differences(was, now entry) map[string]any {
	d := map[string]any{}
	put := func(name string, was, now any) {
		if was != now {
			d[name] = map[string]any{"expected": was, "current": now}
		}
	}
	put("type", was.form.String(), now.form.String())
	if was.form != gone && now.form != gone {
		put("mode", octal(was.mode), octal(now.mode))
		put("uid", was.uid, now.uid)
		put("gid", was.gid, now.gid)
		put("size", was.size, now.size)
		put("mtime_ns", was.mtime, now.mtime)
		put("link", was.link, now.link)
		put("attributes", was.attrs, now.attrs)
		put("device", was.rdev, now.rdev)
	}
	if now.trouble != "" {
		d["error"] = now.trouble
	}
	return d
}
