package capture

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/shivx/shivx/internal/golden/format"
	"github.com/shivx/shivx/internal/testenv"
)

// acl is a POSIX ACL as the kernel takes it: user::rwx, user:7:r--, group::r-x, mask::r-x, other::---.
func acl() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 7, ^uint32(0)}, {2, 4, 7}, {4, 5, ^uint32(0)}, {0x10, 5, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

func TestExtendedAttributes(t *testing.T) {
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, to set trusted attributes")
	}
	dir := t.TempDir()
	file := write(t, dir+"/f", "content")
	require.NoError(t, os.Symlink("f", dir+"/l"))
	require.NoError(t, unix.Mkfifo(dir+"/p", 0o600))
	// cap_net_bind_service, permitted and effective, version 2.
	capability := append([]byte{1, 0, 0, 2, 0, 4}, make([]byte, 14)...)
	set := func(path, name string, value []byte) {
		require.NoError(t, unix.Lsetxattr(path, name, value, 0), name)
	}
	long := []byte(strings.Repeat("v", 3000))
	set(file, "user.z", []byte("1"))
	set(file, "user.empty", nil)
	set(file, "user.a\xff\n", []byte{0, 1, 2})
	set(file, "trusted.t", long)
	set(file, "security.capability", capability)
	set(file, "system.posix_acl_access", acl())
	set(dir, "system.posix_acl_default", acl())
	set(dir+"/l", "trusted.link", []byte("on the link"))
	set(dir+"/p", "trusted.pipe", []byte("on the pipe"))

	m := newMemory()
	o := Options{Roots: []string{dir}, now: later}
	r := capture(t, m, o)
	require.Zero(t, r.Unreadable)
	require.Equal(t, []format.Xattr{
		{Name: "security.capability", Value: capability},
		{Name: "system.posix_acl_access", Value: acl()},
		{Name: "trusted.t", Value: long},
		{Name: "user.a\xff\n", Value: []byte{0, 1, 2}},
		{Name: "user.empty", Value: []byte{}},
		{Name: "user.z", Value: []byte("1")},
	}, m.entry(t, file).Xattrs)
	require.Equal(t, []format.Xattr{{Name: "system.posix_acl_default", Value: acl()}}, m.entry(t, dir).Xattrs)
	require.Equal(t, []format.Xattr{{Name: "trusted.link", Value: []byte("on the link")}}, m.entry(t, dir+"/l").Xattrs)
	require.Equal(t, []format.Xattr{{Name: "trusted.pipe", Value: []byte("on the pipe")}}, m.entry(t, dir+"/p").Xattrs)

	// A change of an attribute alone is a change.
	set(file, "user.z", []byte("2"))
	o.Previous = m.all()
	again := m.after()
	capture(t, again, o)
	require.Equal(t, "2", string(again.entry(t, file).Xattrs[5].Value))
	require.Equal(t, m.entry(t, dir+"/l"), again.entry(t, dir+"/l"))
}
