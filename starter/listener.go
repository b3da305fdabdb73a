package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// strangerError is about a listener of an account that is not the agent's.
type strangerError struct{ text string }

func (e *strangerError) Error() string { return e.text }

// checkListener makes sure that root or owner listens on an address of this machine. Only Linux
// tells who does, in the files of proc.
func checkListener(proc string, at net.Addr, owner uint32) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	address, err := netip.ParseAddrPort(at.String())
	if err != nil {
		return fmt.Errorf("find out who listens: %w", err)
	}
	uids, err := listenersOn(proc, address)
	if err != nil {
		return fmt.Errorf("find out who listens on %s: %w", address, err)
	}
	if len(uids) == 0 {
		return &strangerError{fmt.Sprintf("the agent's token is not sent to %s: this machine does not say who listens there", address)}
	}
	for _, uid := range uids {
		if uid != 0 && uid != owner {
			return &strangerError{fmt.Sprintf("the agent's token is not sent to %s: %s listens there, and the token is %s's",
				address, account(uid), account(owner))}
		}
	}
	return nil
}

// account names a user for people.
func account(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// listenersOn returns the accounts whose sockets a connection to an address may reach, from
// net/tcp and net/tcp6 (proc_net_tcp in the kernel's documentation).
func listenersOn(proc string, at netip.AddrPort) (uids []uint32, err error) {
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(filepath.Join(proc, "self/net", name))
		if errors.Is(err, fs.ErrNotExist) && name == "tcp6" {
			continue // IPv6 is off
		}
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(f)
		lines.Scan() // the titles
		for lines.Scan() {
			local, uid, ok := listening(lines.Text())
			if ok && local.Port() == at.Port() && (local.Addr().IsUnspecified() || local.Addr().Unmap() == at.Addr().Unmap()) {
				uids = append(uids, uid)
			}
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, err
		}
	}
	return uids, nil
}

// listening reads one line of net/tcp; ok is false unless its socket listens.
//
//	sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt   uid …
func listening(line string) (local netip.AddrPort, uid uint32, ok bool) {
	const listens = "0A" // TCP_LISTEN
	f := strings.Fields(line)
	if len(f) < 8 || f[3] != listens {
		return local, 0, false
	}
	address, port, _ := strings.Cut(f[1], ":")
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw)%4 != 0 {
		return local, 0, false
	}
	for i := 0; i < len(raw); i += 4 { // words of the machine, each printed as a number
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, valid := netip.AddrFromSlice(raw)
	p, portErr := strconv.ParseUint(port, 16, 16)
	id, idErr := strconv.ParseUint(f[7], 10, 32)
	return netip.AddrPortFrom(ip, uint16(p)), uint32(id), valid && portErr == nil && idErr == nil
}
