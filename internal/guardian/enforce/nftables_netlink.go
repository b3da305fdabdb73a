package enforce

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The questions of this file are asked here and not by the library, which reads a whole set to find
// one element, and loses the kernel's error numbers.

// nfgenmsg is the length of the header that netfilter has before the attributes.
const nfgenmsg = 4

// dumpBuffer is twice the most that the kernel puts into one part of an answer. It makes the parts as
// large as the buffer lets it, and walks the set from its beginning for each.
const dumpBuffer = 64 << 10

// question is a message about nftables.
func question(what int, flags netlink.HeaderFlags, attrs ...[]byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | what),
			Flags: netlink.Request | flags,
		},
		Data: append([]byte{unix.NFPROTO_INET, 0, 0, 0}, slices.Concat(attrs...)...),
	}
}

// ask sends one question and returns the attributes of each answer.
func (n *Nftables) ask(ctx context.Context, what int, flags netlink.HeaderFlags, attrs ...[]byte) ([][]byte, error) {
	conn, err := n.sockets.ask(ctx)
	if err != nil {
		return nil, err
	}
	messages, err := conn.Execute(question(what, flags, attrs...))
	if n.sockets.answered(err) != nil {
		return nil, fmt.Errorf("ask the kernel about nftables: %w", err)
	}
	answers := make([][]byte, 0, len(messages))
	for _, m := range messages {
		if len(m.Data) >= nfgenmsg {
			answers = append(answers, m.Data[nfgenmsg:])
		}
	}
	return answers, nil
}

// generation returns the number of the ruleset, which changes with each transaction of anybody.
func (n *Nftables) generation(ctx context.Context) (uint32, error) {
	answers, err := n.ask(ctx, unix.NFT_MSG_GETGEN, 0)
	if err != nil {
		return 0, err
	}
	id := find(answers, unix.NFTA_GEN_ID)
	if len(id) != 1 || len(id[0]) != 4 {
		return 0, errors.New("ask the kernel about nftables: the ruleset has no generation")
	}
	return binary.BigEndian.Uint32(id[0]), nil
}

// flags returns those of the table; the error is unix.ENOENT when it is not there.
func (n *Nftables) flags(ctx context.Context) (uint32, error) {
	answers, err := n.ask(ctx, unix.NFT_MSG_GETTABLE, 0, nest(unix.NFTA_TABLE_NAME, []byte(n.o.Table+"\x00")))
	if err != nil {
		return 0, err
	}
	for _, flags := range find(answers, unix.NFTA_TABLE_FLAGS) {
		if len(flags) == 4 {
			return binary.BigEndian.Uint32(flags), nil
		}
	}
	return 0, nil
}

// handles lists all rules of the table by the kernel's numbers, which no later rule of it gets again.
func (n *Nftables) handles(ctx context.Context) ([]uint64, error) {
	answers, err := n.ask(ctx, unix.NFT_MSG_GETRULE, netlink.Dump, nest(unix.NFTA_RULE_TABLE, []byte(n.o.Table+"\x00")))
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, handle := range find(answers, unix.NFTA_RULE_HANDLE) {
		if len(handle) == 8 {
			all = append(all, binary.BigEndian.Uint64(handle))
		}
	}
	return all, nil
}

// has asks for one element of a set.
func (n *Nftables) has(ctx context.Context, key setKey, p netip.Prefix) (bool, error) {
	return n.hasElement(ctx, key.name(), p.Addr().AsSlice())
}

func (n *Nftables) hasElement(ctx context.Context, set string, key []byte) (bool, error) {
	value := nest(unix.NFTA_DATA_VALUE, key)
	elem := nest(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, nest(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, value))
	_, err := n.ask(ctx, unix.NFT_MSG_GETSETELEM, 0, append(n.inSet(set),
		nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, elem))...)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// dump reads the elements of a set, part by part.
func (n *Nftables) dump(ctx context.Context, key setKey, each func(netip.Prefix)) error {
	err := n.sockets.answered(n.readDump(ctx, key, each))
	if err != nil {
		return fmt.Errorf("read the set %s of %s: %w", key.name(), n.o.Table, err)
	}
	return nil
}

func (n *Nftables) readDump(ctx context.Context, key setKey, each func(netip.Prefix)) error {
	conn, err := n.sockets.ask(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.Send(question(unix.NFT_MSG_GETSETELEM, netlink.Dump, n.inSet(key.name())...)); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	buffer := make([]byte, dumpBuffer)
	for done := false; !done; {
		var size int
		var failed error
		if err := raw.Read(func(fd uintptr) bool {
			size, _, failed = unix.Recvfrom(int(fd), buffer, 0)
			return !errors.Is(failed, unix.EAGAIN)
		}); err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
		if done, err = dumped(buffer[:size], key.bits, each); err != nil {
			return err
		}
	}
	return nil
}

// dumped reads one part of a set; done is true after the last one.
func dumped(part []byte, bits int, each func(netip.Prefix)) (done bool, err error) {
	messages, err := syscall.ParseNetlinkMessage(part)
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		switch {
		case m.Header.Type == unix.NLMSG_DONE:
			return true, nil
		case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
			return false, unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
		case len(m.Data) < nfgenmsg:
			continue
		}
		for _, list := range find([][]byte{m.Data[nfgenmsg:]}, unix.NFTA_SET_ELEM_LIST_ELEMENTS) {
			for _, elem := range attributes(list) {
				if a, ok := netip.AddrFromSlice(elementKey(elem)); ok {
					each(netip.PrefixFrom(a, bits))
				}
			}
		}
	}
	return false, nil
}

func (n *Nftables) inSet(set string) [][]byte {
	return [][]byte{
		nest(unix.NFTA_SET_ELEM_LIST_TABLE, []byte(n.o.Table+"\x00")),
		nest(unix.NFTA_SET_ELEM_LIST_SET, []byte(set+"\x00")),
	}
}

func elementKey(elem []byte) []byte {
	for kind, data := range attributes(elem) {
		if kind != unix.NFTA_SET_ELEM_KEY {
			continue
		}
		for kind, value := range attributes(data) {
			if kind == unix.NFTA_DATA_VALUE {
				return value
			}
		}
	}
	return nil
}

// find returns the values of one kind of attribute in all answers.
func find(answers [][]byte, kind uint16) [][]byte {
	var values [][]byte
	for _, answer := range answers {
		for k, value := range attributes(answer) {
			if k == kind {
				values = append(values, value)
			}
		}
	}
	return values
}

// nest returns an attribute: length and type in the byte order of the machine, the value, and zeros
// up to the next multiple of 4.
func nest(kind uint16, value []byte) []byte {
	out := make([]byte, 4, 4+len(value)+3)
	binary.NativeEndian.PutUint16(out, uint16(4+len(value)))
	binary.NativeEndian.PutUint16(out[2:], kind)
	out = append(out, value...)
	return append(out, make([]byte, -len(value)&3)...)
}

// attributes walks the attributes in b; what is cut off is left out.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			size := int(binary.NativeEndian.Uint16(b))
			if size < 4 || size > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, b[4:size]) {
				return
			}
			b = b[min(len(b), (size+3)&^3):]
		}
	}
}
