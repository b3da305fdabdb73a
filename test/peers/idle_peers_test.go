package peers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx/test/stand"
)

// idlePeers starts the programs to compare with that are installed.
func idlePeers(t *testing.T) (out []*idleMeasured) {
	if path, err := exec.LookPath("prometheus-node-exporter"); err == nil {
		out = append(out, idleNodeExporter(t, path))
	} else {
		t.Log("node_exporter is not measured: no prometheus-node-exporter here (apt-get install it)")
	}
	path, err := exec.LookPath("netdata")
	if _, sbin := os.Stat("/usr/sbin/netdata"); err != nil && sbin == nil {
		path, err = "/usr/sbin/netdata", nil
	}
	if err == nil {
		out = append(out, idleNetdata(t, path))
	} else {
		t.Log("Netdata is not measured: no netdata here (apt-get install netdata-core)")
	}
	return out
}

// idleNodeExporter starts node_exporter with the collectors it has by default; it reads only when
// it is asked.
func idleNodeExporter(t *testing.T, path string) *idleMeasured {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", stand.FreePort(t))
	p := stand.NewProcess(t, filepath.Join(t.TempDir(), "log"), nil, path, "--web.listen-address="+address)
	p.Start()
	scrape := func() bool { return scraped("http://" + address + "/metrics") }
	stand.Await(t, time.Minute, "node_exporter to answer", func(context.Context) bool { return scrape() })
	tick := time.NewTicker(idleScrape)
	end := make(chan struct{})
	t.Cleanup(func() { tick.Stop(); close(end) })
	go func() {
		for {
			select {
			case <-tick.C:
				scrape()
			case <-end:
				return
			}
		}
	}()
	return &idleMeasured{name: fmt.Sprintf("node_exporter, scraped every %s", idleScrape), pids: func() []int { return []int{p.PID()} }}
}

// netdataConf keeps Netdata in a folder of its own and otherwise as it is by default.
const netdataConf = `[directories]
  cache = DIR/cache
  lib = DIR/lib
  log = DIR/log
  lock = DIR/lock
[global]
  run as user = root
[web]
  bind to = 127.0.0.1:PORT
[statsd]
  enabled = no
[cloud]
  enabled = no
`

// idleNetdata starts Netdata, which measures every second; the processes it starts for its
// plugins count, too.
func idleNetdata(t *testing.T, path string) *idleMeasured {
	t.Helper()
	dir, port := t.TempDir(), strconv.Itoa(stand.FreePort(t))
	for _, sub := range []string{"cache", "lib", "log", "lock"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "netdata.conf")
	if err := os.WriteFile(conf, []byte(strings.NewReplacer("DIR", dir, "PORT", port).Replace(netdataConf)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := stand.NewProcess(t, filepath.Join(dir, "out"), []string{"DISABLE_TELEMETRY=1"}, path, "-D", "-c", conf)
	p.Start()
	stand.Await(t, time.Minute, "Netdata to answer", func(context.Context) bool { return scraped("http://127.0.0.1:" + port + "/api/v1/info") })
	return &idleMeasured{name: "Netdata, every second, all its processes", pids: func() []int { return processTree(p.PID()) }}
}

func scraped(url string) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// processTree returns a process and all that it and its children have started.
func processTree(root int) []int {
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		// A child belongs to the thread that started it.
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", tree[i]))
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // the thread is gone
			}
			for field := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(field); err == nil {
					tree = append(tree, pid)
				}
			}
		}
	}
	return tree
}

// cpuTime is the time the program has had a CPU. A child that has ended counts with what its
// parent has waited for.
func (m *idleMeasured) cpuTime(t *testing.T) (sum time.Duration) {
	pids := m.pids()
	for _, pid := range pids {
		if len(pids) == 1 || alive(pid) {
			sum += cpuOf(t, pid)
		}
	}
	return sum
}

func alive(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil
}

// readMemory sums the memory of the program's processes.
func (m *idleMeasured) readMemory(t *testing.T) (sum idleMemory) {
	for _, pid := range m.pids() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			if pid == m.pids()[0] {
				t.Fatalf("%s has ended: %v", m.name, err)
			}
			continue
		}
		sum.rss += kibOf(status, "VmRSS:")
		sum.anon += kibOf(status, "RssAnon:")
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err == nil {
			sum.pss += kibOf(rollup, "Pss:")
		}
	}
	return sum
}

// kibOf returns a line's value of a file of /proc, in KiB; 0 when there is no such line.
func kibOf(file []byte, name string) int {
	for line := range bytes.Lines(file) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.Atoi(string(bytes.Fields(rest)[0]))
			return n
		}
	}
	return 0
}
