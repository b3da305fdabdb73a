package peers

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/guardian"
	"github.com/shivx/shivx/internal/guardian/logs"
)

const (
	// spoofedSources fail once each; spoofedHeld are isolated before them.
	spoofedSources, spoofedHeld = 10_000_000, 100
	// spoofedBatch are reported at a time.
	spoofedBatch = 1000
	// spoofedGrowth is the most that the peak of memory may grow in the second half, when the table of sources
	// has long been full.
	spoofedGrowth = 1.25
	// spoofedChild is set in the environment of the process whose memory is measured.
	spoofedChild = "SHIVX_BENCH_SPOOFED"
)

// TestBenchGuardianSpoofed measures the memory of a guardian, with its audit and its saved positions, that
// sees ten million sources, each once; those it has isolated before must stay so.
func TestBenchGuardianSpoofed(t *testing.T) {
	if os.Getenv(spoofedChild) != "" {
		spoof(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestBenchGuardianSpoofed$", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), spoofedChild+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%-12s %10s %10s %12s %10s %10s", "events", "sources", "evicted", "table MB", "RSS MB", "peak MB")
	var half, end int
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n, sources, evicted, table, rss, peak int
		if _, err := fmt.Sscan(lines.Text(), &n, &sources, &evicted, &table, &rss, &peak); err != nil {
			if strings.Contains(lines.Text(), "_test.go") {
				t.Log(lines.Text())
			}
			continue
		}
		t.Logf("%-12d %10d %10d %12.1f %10.1f %10.1f", n, sources, evicted, float64(table)/1e6, megabytes(rss), megabytes(peak))
		if end = peak; n <= spoofedSources/2 {
			half = peak
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if half == 0 || float64(end) > spoofedGrowth*float64(half) {
		t.Errorf("the memory at its peak went from %d to %d KiB in the second half", half, end)
	}
}

// spoof prints the events so far, what the detector's table has, and the memory of this process.
func spoof(t *testing.T) {
	g, stop := startGuardian(t, t.TempDir(), config.Default().Guardian)
	held := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, byte(i), 113, 7}) }
	for i := range spoofedHeld {
		events := make([]guardian.Reported, 2*blockLines)
		for k := range events {
			events[k] = guardian.Reported{Source: held(i), Kind: logs.Failure, User: "root"}
		}
		g.Report(events)
	}
	events := make([]guardian.Reported, spoofedBatch)
	for n := 0; n <= spoofedSources; n += spoofedBatch {
		if n%(spoofedSources/10) == 0 {
			s := g.Brief().Sources
			text, err := os.ReadFile("/proc/self/status")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println(n, s.Sources, s.Evicted, s.Bytes, kibOf(text, "VmRSS:"), kibOf(text, "VmHWM:"))
		}
		now := time.Now()
		for i := range events {
			var a [4]byte
			// An odd factor takes each number to another one, all over the addresses.
			binary.BigEndian.PutUint32(a[:], uint32(n+i+1)*2654435761)
			events[i] = guardian.Reported{Source: netip.AddrFrom4(a), Kind: logs.Failure, User: "root", At: now}
		}
		g.Report(events)
	}
	for i := range spoofedHeld {
		if !g.Check(held(i)).Refused {
			t.Errorf("%s is isolated no more", held(i))
		}
	}
	stop()
}
