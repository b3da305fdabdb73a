package builtin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shivx/shivx/plugins/sdk"
)

// freezeWait is how long a cgroup may take to stand still; a process that waits for a disk or
// a network file system takes longer.
const freezeWait = 5 * time.Second

// cgroupMount is where the kernel shows the cgroups of version 2.
type cgroupMount string

// cgroupMount finds the mount point in proc(5)'s mountinfo.
func (fs procfs) cgroupMount() (cgroupMount, error) {
	data, err := os.ReadFile(filepath.Join(fs.root, "self/mountinfo"))
	if err != nil {
		return "", fmt.Errorf("find the cgroups: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		about, kind, ok := strings.Cut(line, " - ")
		fields := strings.Fields(about)
		if ok && strings.HasPrefix(kind, "cgroup2 ") && len(fields) > 4 {
			return cgroupMount(unescapeMount(fields[4])), nil
		}
	}
	return "", sdk.Failf("mount it, or use the plugin systemd or script", "cgroup2 is not mounted on this host")
}

// unescapeMount takes back the octal escapes of blanks in mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// relative returns the path below the mount point.
func (m cgroupMount) relative(path string) (string, error) {
	rel := filepath.Clean(path)
	if filepath.IsAbs(rel) {
		var err error
		if rel, err = filepath.Rel(string(m), rel); err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			return "", sdk.BadOption("path", fmt.Sprintf("write it without the first /, or as a path below %s", m),
				"%s is not below %s, where the cgroups are", path, m)
		}
	}
	if rel == "." {
		return "", sdk.BadOption("path", "name one cgroup", "the root cgroup holds the whole machine")
	}
	return rel, nil
}

// cgroupDir is one cgroup, open: nothing that happens to its path leads elsewhere.
type cgroupDir struct {
	root *os.Root
	path string
	id   string
}

func (d *cgroupDir) close() {
	if d != nil {
		_ = d.root.Close()
	}
}

// openCgroup opens the cgroup rel, without following a link out of the mount; nil when it does not exist.
func (h *host) openCgroup(mount cgroupMount, rel string) (*cgroupDir, error) {
	boot, err := h.bootID()
	if err != nil {
		return nil, err
	}
	top, err := os.OpenRoot(string(mount))
	if err != nil {
		return nil, fmt.Errorf("open the cgroups: %w", err)
	}
	defer func() { _ = top.Close() }()
	dir, err := top.OpenRoot(rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a cgroup that is not there is an answer
	}
	if err != nil {
		return nil, failed(fmt.Errorf("open cgroup %s: %w", filepath.Join(string(mount), rel), err),
			"the path must be that of a cgroup, and may not lead out of "+string(mount))
	}
	info, err := dir.Stat(".")
	if err != nil {
		_ = dir.Close()
		return nil, fmt.Errorf("open cgroup %s: %w", rel, err)
	}
	st, _ := info.Sys().(*syscall.Stat_t)
	return &cgroupDir{
		root: dir, path: filepath.Join(string(mount), rel),
		id: fmt.Sprintf("%s/%d:%d", boot, st.Dev, st.Ino),
	}, nil
}

// read returns what stands in the place that s writes to.
func (d *cgroupDir) read(s setting) (setting, error) {
	data, err := d.content(s.Knob)
	if errors.Is(err, fs.ErrNotExist) {
		controller, _, _ := strings.Cut(s.Knob, ".")
		return setting{}, failed(fmt.Errorf("cgroup %s has no file %s: %w", d.path, s.Knob, err),
			fmt.Sprintf("the controller %s must be on: echo +%s > %s/cgroup.subtree_control", controller, controller, path.Dir(d.path)))
	}
	if err != nil {
		return setting{}, fmt.Errorf("cgroup %s: %w", d.path, err)
	}
	return s.found(data), nil
}

func (d *cgroupDir) content(name string) (string, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 8<<20))
	return string(data), err
}

// write writes s in one call, as the kernel wants it.
func (d *cgroupDir) write(s setting) error {
	f, err := d.root.OpenFile(s.Knob, os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = f.WriteString(s.Text + "\n")
		err = errors.Join(err, f.Close())
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ERANGE), errors.Is(err, syscall.ENODEV):
		return failed(fmt.Errorf("the kernel refuses %q for %s of cgroup %s: %w", s.Text, s.Knob, d.path, err), "correct the option set."+s.Knob)
	case errors.Is(err, fs.ErrPermission):
		return failed(fmt.Errorf("cgroup %s: %w", d.path, err), "run the agent as root, or have the cgroup delegated to its user")
	}
	return fmt.Errorf("cgroup %s: %w", d.path, err)
}

// awaitFreezer waits until the cgroup stands still or runs. One that stays frozen because one
// above it is frozen is as it was before.
func (d *cgroupDir) awaitFreezer(ctx context.Context, frozen bool) error {
	want, deadline := "frozen 0", time.Now().Add(freezeWait)
	if frozen {
		want = "frozen 1"
	}
	for {
		events, err := d.content("cgroup.events")
		if err != nil {
			return fmt.Errorf("cgroup %s: %w", d.path, err)
		}
		if strings.Contains("\n"+events, "\n"+want+"\n") {
			return nil
		}
		if time.Now().After(deadline) {
			if !frozen {
				return nil
			}
			return retryable(fmt.Errorf("cgroup %s does not stand still %s after it was told to freeze", d.path, freezeWait),
				"a process in it waits for a disk or the network: ps -o pid,state,wchan,cgroup -A")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

const spareHint = "name the cgroup of what is to give way, and run the agent in another; or use a weight"

// spareCgroup refuses to freeze or to limit a cgroup that holds the first process of the host or
// this one, directly or further below.
func (h *host) spareCgroup(d *cgroupDir, knob string) error {
	self := strconv.Itoa(os.Getpid())
	return fs.WalkDir(d.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return fmt.Errorf("who is in cgroup %s: %w", d.path, err)
		}
		if !entry.IsDir() {
			return nil
		}
		members, err := d.members(name)
		if err != nil {
			return err
		}
		switch {
		case slices.Contains(members, "1"):
			return sdk.BadOption("path", spareHint, "cgroup %s holds the first process of the host; %s would stop or starve the host with it", d.path, knob)
		case slices.Contains(members, self):
			return sdk.BadOption("path", spareHint, "cgroup %s holds the agent itself; with %s it could not put anything back for sure", d.path, knob)
		}
		return nil
	})
}

// members lists the processes in the cgroup name below d. Of a threaded one, whose processes the
// kernel lists further up, it lists the threads; the first of a process has its number.
func (d *cgroupDir) members(name string) ([]string, error) {
	data, err := d.content(path.Join(name, "cgroup.procs"))
	if errors.Is(err, syscall.EOPNOTSUPP) {
		data, err = d.content(path.Join(name, "cgroup.threads"))
	}
	switch {
	case errors.Is(err, syscall.ENODEV), errors.Is(err, fs.ErrNotExist):
		return nil, nil // removed meanwhile
	case err != nil:
		return nil, fmt.Errorf("who is in cgroup %s: %w", d.path, err)
	}
	return strings.Fields(data), nil
}
