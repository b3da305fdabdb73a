package builtin

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// openFiles are the files that processes hold open or have mapped.
type openFiles struct {
	at   time.Time
	held map[identity]bool
	// mapped are inode numbers alone: the device that /proc shows for a mapping is not always that of the file.
	mapped map[uint64]bool
	// hidden says that there are processes into which this one may not look.
	hidden bool
}

// freshness is how old the knowledge of open files may be; to look through all processes takes a while.
const freshness = time.Second

// holds says whether a process has the file open, as far as the agent may see.
func (o *openFiles) holds(fs procfs, id identity) (bool, error) {
	if time.Since(o.at) > freshness {
		if err := o.look(fs); err != nil {
			return false, err
		}
	}
	return o.held[id] || o.mapped[id.ino], nil
}

func (o *openFiles) look(fs procfs) error {
	list, err := fs.all()
	if err != nil {
		return err
	}
	o.held, o.mapped, o.hidden = map[identity]bool{}, map[uint64]bool{}, false
	for _, p := range list {
		o.lookInto(filepath.Join(fs.root, strconv.Itoa(p.pid)))
	}
	o.at = time.Now()
	return nil
}

func (o *openFiles) lookInto(process string) {
	dir, err := os.Open(filepath.Join(process, "fd"))
	if err != nil {
		o.hidden = o.hidden || os.IsPermission(err)
		return
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	o.hidden = o.hidden || os.IsPermission(err)
	for _, name := range names {
		link := filepath.Join(process, "fd", name)
		if to, err := os.Readlink(link); err != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "/dev/") && !strings.HasPrefix(to, "/dev/shm/") {
			continue
		}
		// What the kernel knows is enough: a network file system that does not answer must not be waited for.
		var st unix.Statx_t
		if unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st) == nil {
			o.held[identity{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}] = true
		}
	}
	maps, _ := os.ReadFile(filepath.Join(process, "maps"))
	for line := range strings.Lines(string(maps)) {
		if fields := strings.Fields(line); len(fields) > 5 {
			if ino, err := strconv.ParseUint(fields[4], 10, 64); err == nil && ino != 0 {
				o.mapped[ino] = true
			}
		}
	}
}
