package capture

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// name is a name in a folder.
type name struct {
	text string
	// kind is its DT_ type.
	kind uint8
}

// kindFailed is the kind of an item that could not even be looked at.
const kindFailed = 0xff

// kindOf is the DT_ type of a mode.
func kindOf(mode uint32) uint8 { return uint8(mode & unix.S_IFMT >> 12) }

// names are those of a folder. A folder may have millions: each takes its bytes and eight more.
type names struct {
	// text holds many names in each string.
	text []string
	// refs say where a name is: the number of the string, where it begins in it, its length, its kind.
	refs []uint64
}

const (
	kindBits   = 4
	lengthBits = 12
	offsetBits = 20
)

func (n *names) len() int { return len(n.refs) }

func (n *names) at(i int) name {
	return name{text: n.of(n.refs[i]), kind: uint8(n.refs[i] & (1<<kindBits - 1))}
}

func (n *names) of(ref uint64) string {
	length := ref >> kindBits & (1<<lengthBits - 1)
	offset := ref >> (kindBits + lengthBits) & (1<<offsetBits - 1)
	return n.text[ref>>(kindBits+lengthBits+offsetBits)][offset : offset+length]
}

// refer adds the name that is to stand at an offset of the next text.
func (n *names) refer(offset, length int, kind uint8) {
	ref := uint64(len(n.text))<<offsetBits | uint64(offset)
	n.refs = append(n.refs, (ref<<lengthBits|uint64(length))<<kindBits|uint64(kind))
}

func (n *names) setKind(i int, kind uint8) {
	n.refs[i] = n.refs[i]&^(1<<kindBits-1) | uint64(kind)
}

// add adds one name.
func (n *names) add(text string, kind uint8) {
	n.refer(0, len(text), kind)
	n.text = append(n.text, text)
}

// sort puts the names in order, each once: while a folder changes, getdents may name one twice.
func (n *names) sort() {
	slices.SortFunc(n.refs, func(a, b uint64) int { return strings.Compare(n.of(a), n.of(b)) })
	n.refs = slices.CompactFunc(n.refs, func(a, b uint64) bool { return n.of(a) == n.of(b) })
}
