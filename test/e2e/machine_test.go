package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeMachine is a host of files: four cores, a quarter of them busy. Its counters go on.
type fakeMachine struct {
	t    *testing.T
	root string

	mu      sync.Mutex
	began   time.Time
	damaged map[string]bool // what the machine does not write any more
}

// steady are the files that do not change, but for damage.
var steady = map[string]string{
	"proc/meminfo": "MemTotal: 8388608 kB\nMemFree: 1048576 kB\nMemAvailable: 4194304 kB\nBuffers: 131072 kB\nCached: 1310720 kB\n" +
		"SwapTotal: 2097152 kB\nSwapFree: 2097152 kB\n",
	"proc/loadavg":                  "1.00 1.00 1.00 2/500 12345\n",
	"proc/sys/fs/file-nr":           "1000\t0\t100000\n",
	"proc/sys/kernel/pid_max":       "50000\n",
	"proc/sys/kernel/threads-max":   "63000\n",
	"proc/pressure/cpu":             "some avg10=2.50 avg60=1.00 avg300=0.50 total=123456\n",
	"proc/pressure/io":              "some avg10=9.00 avg60=1.00 avg300=0.50 total=123456\nfull avg10=2.50 avg60=0.10 avg300=0.05 total=1234\n",
	"proc/pressure/memory":          "some avg10=3.00 avg60=1.00 avg300=0.50 total=123456\nfull avg10=1.00 avg60=0.10 avg300=0.05 total=1234\n",
	"proc/1/mountinfo":              "31 21 0:41 / /data rw - tmpfs data rw\n32 21 0:42 / /spare rw - tmpfs spare rw\n",
	"sys/devices/system/cpu/online": "0-3\n",
}

func newFakeMachine(t *testing.T) *fakeMachine {
	t.Helper()
	m := &fakeMachine{t: t, root: t.TempDir(), began: time.Now(), damaged: map[string]bool{}}
	for _, dir := range []string{"data", "spare", "sys/class/net/eth0/device"} {
		require.NoError(t, os.MkdirAll(filepath.Join(m.root, dir), 0o755))
	}
	for name := range steady {
		m.repair(name)
	}
	m.goOn()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-end:
				tick.Stop()
				return
			case <-tick.C:
				m.goOn()
			}
		}
	}()
	t.Cleanup(func() { close(end); <-ended })
	return m
}

// goOn writes the counters as they are by now.
func (m *fakeMachine) goOn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	ticks := int(time.Since(m.began)/(10*time.Millisecond)) + 1000
	for name, content := range map[string]string{
		"proc/stat": fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0\n", ticks, 3*ticks),
		"proc/1/net/dev": fmt.Sprintf("Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n"+
			"    lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n  eth0: %d %d 0 0 0 0 0 0 %d %d 0 0 0 0 0 0\n", 1000*ticks, ticks, 1000*ticks, ticks),
		"proc/1/net/snmp": fmt.Sprintf("Tcp: RtoAlgorithm OutSegs RetransSegs\nTcp: 1 %d 10\n", ticks),
	} {
		if !m.damaged[name] {
			m.put(name, content)
		}
	}
}

// put replaces a file whole, as the kernel's are read whole.
func (m *fakeMachine) put(name, content string) {
	path := filepath.Join(m.root, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path+".new", []byte(content), 0o644)
	}
	if err == nil {
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			err = os.Remove(path)
		}
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		m.t.Error(err)
	}
}

// damage leaves a file with the content.
func (m *fakeMachine) damage(name, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.damaged[name] = true
	m.put(name, content)
}

// turnIntoFolder leaves a folder in the place of a file.
func (m *fakeMachine) turnIntoFolder(name string) {
	m.remove(name)
	require.NoError(m.t, os.Mkdir(filepath.Join(m.root, name), 0o755))
}

func (m *fakeMachine) remove(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.damaged[name] = true
	require.NoError(m.t, os.RemoveAll(filepath.Join(m.root, name)))
}

func (m *fakeMachine) repair(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.damaged, name)
	if content, ok := steady[name]; ok {
		m.put(name, content)
	}
}
