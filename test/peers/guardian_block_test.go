package peers

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/testenv"
)

const (
	// blockSources of ShivX, and of fail2ban, which takes longer for each.
	blockSources, blockFail2ban = 250, 20
	// blockLines of each source; ten failures isolate by default.
	blockLines = 10
	// The aims.
	blockP50, blockP99 = 20 * time.Millisecond, 100 * time.Millisecond
)

// blockGuardian keeps the thresholds as they are: else they are halved after some attacks, and a source is
// blocked before its last line.
const blockGuardian = `
  nftables: {enabled: "on"}
  logs: [{name: auth, file: %q, format: sshd}]
  defense: {threats: 1000000}
`

// blockPublished are figures of others on the same kind of machine, not measured here.
var blockPublished = []struct{ name, took string }{
	{"fail2ban, p50", "470 ms"},
	{"CrowdSec, p50", "750 ms, and up to the 10 s after which its bouncer asks"},
}

// TestBenchGuardianBlock measures the time from the write of the last of ten lines of a source to the
// kernel's word that its set has the source, beside a fail2ban with its action for nftables.
func TestBenchGuardianBlock(t *testing.T) {
	testenv.Need(t, "ip")
	row := func(name string, took []time.Duration) {
		t.Logf("  %-44s %8.1f %8.1f %8.1f %8.1f   %d sources", name, ms(quantile(took, .5)), ms(quantile(took, .9)), ms(quantile(took, .99)),
			ms(quantile(took, 1)), len(took))
	}
	took := blocksOfAgent(t)
	peer, backend := blocksOfFail2ban(t)
	t.Logf("from the write of the line to the element in nftables, in ms; load average %s", loadAverage())
	t.Logf("  %-44s %8s %8s %8s %8s", "", "p50", "p90", "p99", "max")
	row("ShivX, the worker with Temporal away", took)
	if len(peer) > 0 {
		row("fail2ban, which "+backend, peer)
		t.Logf("  ShivX is %.0f times as fast as that (p50)", ms(quantile(peer, .5))/ms(quantile(took, .5)))
	}
	for _, p := range blockPublished {
		t.Logf("  %-44s %s   published, not measured here", p.name, p.took)
	}
	if p50, p99 := quantile(took, .5), quantile(took, .99); p50 > blockP50 || p99 > blockP99 {
		t.Errorf("p50 %s, p99 %s; aims %s and %s", p50, p99, blockP50, blockP99)
	}
}

// blocksOfAgent attacks a worker from one source after the other.
func blocksOfAgent(t *testing.T) []time.Duration {
	ns, dir := newNamespace(t, "a"), t.TempDir()
	log := emptyLog(t, dir)
	all := ns.watch(t)
	agent := ns.agent(t, dir, fmt.Sprintf(blockGuardian, log.Name()))
	agent.Start()
	defer agent.Stop()
	return attack(t, log, all, 40, blockSources, 20*time.Millisecond)
}

// emptyLog makes a log that lines are appended to.
func emptyLog(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "auth.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// attack writes the lines of n sources, each in a network of its own below the first byte, up to pause after
// the one before was blocked, and returns how long each took. The first after a start do not count.
func attack(t *testing.T, log *os.File, all <-chan blocks, first byte, n int, pause time.Duration) (took []time.Duration) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(first), 1))
	source := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{first, byte(i >> 8), byte(i), 7}) }
	const warm = 5
	for i := 0; len(took) < n; i++ {
		addr := source(i)
		if _, err := log.WriteString(failures(addr, blockLines-1)); err != nil {
			t.Fatal(err)
		}
		line, begin := failures(addr, 1), time.Now()
		if _, err := log.WriteString(line); err != nil {
			t.Fatal(err)
		}
		// What was written before the program watched its log is not seen by it.
		at, ok := blocked(all, addr, 5*time.Second)
		switch {
		case !ok && (i > 20 || len(took) > 0):
			t.Fatalf("%s was not blocked", addr)
		case ok && i >= warm:
			took = append(took, at.Sub(begin))
		}
		time.Sleep(time.Duration(random.Int64N(int64(pause)))) // at no fixed time after the program's last look
	}
	return took
}

// fail2banConf runs a jail as Debian does, for which Debian's filters and actions are linked beside it.
const fail2banConf = `[Definition]
loglevel = INFO
logtarget = %[1]s/fail2ban.log
syslogsocket = auto
socket = %[1]s/socket
pidfile = %[1]s/pid
dbfile = None
dbpurgeage = 1d
`

const fail2banJail = `[sshd]
enabled = true
filter = sshd
logpath = %s
backend = auto
findtime = 10m
bantime = 10m
maxretry = %d
usedns = no
action = nftables-allports[name=sshd]
`

// blocksOfFail2ban attacks a fail2ban, and says how it watches the log; none when it is not installed.
func blocksOfFail2ban(t *testing.T) (took []time.Duration, backend string) {
	server, err := exec.LookPath("fail2ban-server")
	if err == nil {
		_, err = exec.LookPath("nft")
	}
	if err != nil {
		t.Log("fail2ban is not measured: not installed (apt-get install fail2ban nftables)")
		return nil, ""
	}
	ns, dir := newNamespace(t, "f"), t.TempDir()
	for _, sub := range []string{"filter.d", "action.d"} {
		if err := os.Symlink("/etc/fail2ban/"+sub, filepath.Join(dir, sub)); err != nil {
			t.Fatal(err)
		}
	}
	log := emptyLog(t, dir)
	for name, text := range map[string]string{
		"fail2ban.conf": fmt.Sprintf(fail2banConf, dir), "jail.conf": fmt.Sprintf(fail2banJail, log.Name(), blockLines),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := ns.watch(t)
	p := ns.process(t, filepath.Join(dir, "out"), server, "-f", "-c", dir, "start")
	p.Start()
	defer p.Stop()
	took = attack(t, log, all, 41, blockFail2ban, time.Second)
	said, _ := os.ReadFile(filepath.Join(dir, "fail2ban.log"))
	backend = "looks at its log by itself"
	if bytes.Contains(said, []byte("uses pyinotify")) {
		backend = "is told of changes by inotify"
	}
	return took, backend
}
