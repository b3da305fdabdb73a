package vitals

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/stretchr/testify/require"
)

// steps of each case: one tree of files for each, 10 s apart.
const steps = 3

// files of one step, by path; a path that ends with "/" is a folder.
type files map[string]string

// loadCase reads testdata/NAME.txtar. A file N/PATH is there in step N, */PATH in all. The file
// REMOVE lists what of the case below, "base" or the one named with "on:", is not there.
func loadCase(t testing.TB, name string) [steps]files {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	require.NoError(t, err)
	var trees [steps]files
	for i := range trees {
		trees[i] = files{}
	}
	if name != "base" {
		below := "base"
		if _, on, ok := strings.Cut(string(a.Comment), "on: "); ok {
			below = strings.TrimSpace(on)
		}
		trees = loadCase(t, below)
	}
	for _, f := range a.Files {
		step, path, _ := strings.Cut(f.Name, "/")
		for i := range trees {
			if step != "*" && step != strconv.Itoa(i+1) {
				continue
			}
			if path == "REMOVE" {
				for gone := range strings.FieldsSeq(string(f.Data)) {
					trees[i].remove(gone)
				}
				continue
			}
			trees[i].remove(strings.TrimSuffix(path, "/"))
			trees[i][path] = string(f.Data)
		}
	}
	return trees
}

func (f files) remove(path string) {
	for p := range f {
		if p == path || strings.HasPrefix(p, path+"/") {
			delete(f, p)
		}
	}
}

// host is a machine of files, in event time.
type host struct {
	t     testing.TB
	root  string
	trees [steps]files
	mono  time.Duration
	wall  time.Time
}

func newHost(t testing.TB, name string) *host {
	h := &host{t: t, root: filepath.Join(t.TempDir(), "root"), trees: loadCase(t, name), wall: time.Unix(1_700_000_000, 0)}
	h.show(1)
	return h
}

// show makes the files of a step the host's.
func (h *host) show(step int) {
	h.t.Helper()
	require.NoError(h.t, os.RemoveAll(h.root))
	for path, content := range h.trees[step-1] {
		full := filepath.Join(h.root, path)
		if strings.HasSuffix(path, "/") {
			require.NoError(h.t, os.MkdirAll(full, 0o755))
			continue
		}
		require.NoError(h.t, os.MkdirAll(filepath.Dir(full), 0o755))
		require.NoError(h.t, os.WriteFile(full, []byte(content), 0o644))
	}
}

func (h *host) pass(d time.Duration) { h.mono += d; h.wall = h.wall.Add(d) }

func (h *host) options() Options {
	return Options{
		Root: h.root + "/", Wall: func() time.Time { return h.wall }, Monotonic: func() time.Duration { return h.mono },
		usage: fakeUsage,
	}
}

// fakeUsage is a file system of 100 GiB, 5 of them kept for root; 40 are used, at /var 90. On
// vfat and btrfs there are no inodes; /proc has no size.
func fakeUsage(_ context.Context, path string, m mount) (*disk.UsageStat, error) {
	const gib = 1 << 30
	if m.fstype == "proc" {
		return &disk.UsageStat{Path: path}, nil
	}
	u := &disk.UsageStat{Path: path, Total: 100 * gib, Used: 40 * gib, Free: 55 * gib, InodesTotal: 1000, InodesFree: 900}
	if m.point == "/var" {
		u.Used, u.Free = 90*gib, 5*gib
	}
	if m.fstype == "vfat" || m.fstype == "btrfs" {
		u.InodesTotal, u.InodesFree = 0, 0
	}
	return u, nil
}

// lines writes the readings of a sample for people, without the folder of the test.
func lines(root string, s Sample) []string {
	var out []string
	for _, r := range s.Readings {
		line := string(r.Resource)
		if r.Subject != "" {
			line += "[" + r.Subject + "]"
		}
		if r.Missing != "" {
			line += " missing: " + r.Missing
		} else {
			line += fmt.Sprintf(" %.2f %% (%s)", r.Percent, r.Detail)
		}
		out = append(out, strings.ReplaceAll(line, root, ""))
	}
	if s.Container {
		out = append(out, "container")
	}
	return out
}

// run samples each step.
func (h *host) run() [steps][]string {
	var out [steps][]string
	s := NewSampler(h.options())
	for i := range steps {
		h.show(i + 1)
		out[i] = lines(h.root, s.Sample(context.Background()))
		h.pass(10 * time.Second)
	}
	return out
}

// differences tells what is otherwise than in the base case, step by step.
func differences(base, got [steps][]string) string {
	var b strings.Builder
	for i := range steps {
		for _, l := range base[i] {
			name, _, _ := strings.Cut(l, " ")
			if !slices.ContainsFunc(got[i], func(g string) bool { return g == name || strings.HasPrefix(g, name+" ") }) {
				fmt.Fprintf(&b, "%d no %s\n", i+1, name)
			}
		}
		for _, l := range got[i] {
			if !slices.Contains(base[i], l) {
				fmt.Fprintf(&b, "%d %s\n", i+1, l)
			}
		}
	}
	return b.String()
}
