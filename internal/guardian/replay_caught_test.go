package guardian

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shivx/shivx"
)

// A day of a host on the internet, made up: what is drawn at random is who comes, how fast, how often and
// when. The thresholds are those of the defaults; the ranges of the attacks were not chosen by them: from
// some that nobody could miss to some that go on for hours below every short window.

// day is the traffic under construction.
type day struct {
	*rand.Rand
	lines []dated
	// attackers by address, with what they do; who is in no network that attacks is "".
	attackers map[netip.Addr]string
	innocents map[netip.Addr]string
	next      uint32
}

type dated struct {
	at   time.Time
	text string
}

var morning = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// between draws from a range, evenly on a logarithmic scale.
func (d *day) between(low, high float64) float64 {
	return low * math.Pow(high/low, d.Float64())
}

func (d *day) some(low, high float64) int { return int(math.Round(d.between(low, high))) }

// anyTime leaves at least the given time until the day ends.
func (d *day) anyTime(left time.Duration) time.Time {
	return morning.Add(time.Duration(d.Float64() * float64(24*time.Hour-left)))
}

// address is in a network of its own.
func (d *day) address() netip.Addr {
	d.next++
	return netip.AddrFrom4([4]byte{11 + byte(d.next>>16), byte(d.next >> 8), byte(d.next), byte(1 + d.IntN(250))})
}

// steps calls do at random moments, every apart on average.
func (d *day) steps(from time.Time, n int, every time.Duration, do func(i int, at time.Time)) {
	for i := range n {
		do(i, from)
		from = from.Add(time.Duration(float64(every) * (0.5 + d.Float64())))
	}
}

func (d *day) line(at time.Time, format string, args ...any) {
	d.lines = append(d.lines, dated{at, fmt.Sprintf(format, args...)})
}

func (d *day) ssh(at time.Time, a netip.Addr, user string, ok bool) {
	word := "Failed"
	if ok {
		word = "Accepted"
	}
	d.line(at, "%s bastion sshd[%d]: %s password for %s from %s port %d ssh2\n",
		at.Format("2006-01-02T15:04:05.000000Z07:00"), 1000+d.IntN(30000), word, user, a, 1024+d.IntN(60000))
}

func (d *day) get(at time.Time, a netip.Addr, path string, status int) {
	d.line(at, "%s - - [%s] \"GET %s HTTP/1.1\" %d %d \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\"\n",
		a, at.Format("02/Jan/2006:15:04:05 -0700"), path, status, 100+d.IntN(9000))
}

func (d *day) log() []byte {
	slices.SortStableFunc(d.lines, func(a, b dated) int { return a.at.Compare(b.at) })
	var b bytes.Buffer
	for _, l := range d.lines {
		b.WriteString(l.text)
	}
	return b.Bytes()
}

// besiege draws attacks on sshd: guessing from one address at 3 to 3,600 attempts an hour, 1 to 3 attempts
// for each of many accounts, and networks whose addresses take turns.
func (d *day) besiege() {
	for range 60 {
		a, pace := d.address(), d.between(3, 3600)
		n := min(max(int(pace*d.between(0.3, 24)), 12), 4000)
		every := time.Duration(float64(time.Hour) / pace)
		d.attackers[a] = "guessing"
		d.steps(d.anyTime(min(time.Duration(n)*every, 23*time.Hour)), n, every, func(_ int, at time.Time) { d.ssh(at, a, "root", false) })
	}
	for range 30 {
		a, each := d.address(), d.some(1, 3)
		d.attackers[a] = "spraying"
		accounts := d.some(10, 300)
		d.steps(d.anyTime(20*time.Hour), accounts*each, time.Duration(d.between(5, 300))*time.Second, func(i int, at time.Time) {
			d.ssh(at, a, fmt.Sprintf("user%d", i/each), false)
		})
	}
	for range 5 {
		first, n := d.address().As4(), d.some(25, 200)
		hosts := d.Perm(250)[:n]
		for _, h := range hosts {
			d.attackers[netip.AddrFrom4([4]byte{first[0], first[1], first[2], byte(1 + h)})] = "network"
		}
		d.steps(d.anyTime(12*time.Hour), n*d.some(3, 9), time.Duration(d.between(1, 20))*time.Second, func(i int, at time.Time) {
			d.ssh(at, netip.AddrFrom4([4]byte{first[0], first[1], first[2], byte(1 + hosts[i%n])}), "root", false)
		})
	}
}

// work draws who logs in rightfully: people who mistype, and an office behind one address.
func (d *day) work() {
	for i := range 300 {
		a := d.address()
		d.innocents[a] = "person"
		for range d.some(1, 8) {
			at, wrong := d.anyTime(time.Hour), max(0, d.IntN(7)-3)
			d.steps(at, wrong+1, 8*time.Second, func(n int, at time.Time) { d.ssh(at, a, fmt.Sprintf("anna%d", i), n == wrong) })
		}
	}
	for office := range 5 {
		a := d.address()
		d.innocents[a] = "office"
		for person := range 30 {
			wrong := max(0, d.IntN(6)-3)
			start := morning.Add(8*time.Hour + time.Duration(d.IntN(3600))*time.Second)
			d.steps(start, wrong+1, 8*time.Second, func(n int, at time.Time) { d.ssh(at, a, fmt.Sprintf("o%dp%d", office, person), n == wrong) })
		}
	}
}

// raid draws attacks on a web server: floods of 550 to 10,000 requests a minute, and scans for paths that are
// not there, which no list of ours has, at 2 to 600 a minute.
func (d *day) raid() {
	for range 40 {
		a := d.address()
		d.attackers[a] = "flood"
		d.steps(d.anyTime(time.Hour), 3000, time.Duration(float64(time.Minute)/d.between(550, 10_000)), func(_ int, at time.Time) { d.get(at, a, "/search?q=x", 200) })
	}
	for range 60 {
		a, n, pace := d.address(), d.some(40, 1000), d.between(2, 600)
		pace = max(pace, float64(n)/(20*60))
		d.attackers[a] = "scan"
		d.steps(d.anyTime(21*time.Hour), n, time.Duration(float64(time.Minute)/pace), func(i int, at time.Time) {
			if status := 404; d.IntN(12) > 0 {
				d.get(at, a, fmt.Sprintf("/k%dq%d/", i, d.IntN(1e6)), status)
			} else {
				d.get(at, a, "/", 200)
			}
		})
	}
}

// browse draws who comes rightfully: visitors with a broken link now and then, crawlers of a site that has
// lost pages, monitors, and an office behind one address.
func (d *day) browse() {
	visit := func(a netip.Addr, at time.Time, pages int, every time.Duration) {
		d.steps(at, pages, every, func(_ int, at time.Time) {
			d.get(at, a, fmt.Sprintf("/page/%d", d.IntN(200)), 200)
			d.steps(at, 1+d.IntN(12), 150*time.Millisecond, func(i int, at time.Time) {
				status := 200
				if d.IntN(25) == 0 {
					status = 404
				}
				d.get(at, a, fmt.Sprintf("/asset/%d-%d.png", i, d.IntN(400)), status)
			})
		})
	}
	for range 500 {
		a := d.address()
		d.innocents[a] = "visitor"
		visit(a, d.anyTime(3*time.Hour), d.some(1, 60), time.Duration(d.between(4, 60))*time.Second)
	}
	for range 8 {
		a, broken := d.address(), 3+d.IntN(30)
		d.innocents[a] = "crawler"
		d.steps(d.anyTime(12*time.Hour), 4000, 8*time.Second, func(i int, at time.Time) {
			status := 200
			if d.IntN(100) < broken {
				status = 404
			}
			d.get(at, a, fmt.Sprintf("/page/%d", i), status)
		})
	}
	monitor := d.address()
	d.innocents[monitor] = "monitor"
	d.steps(morning, 8000, 10*time.Second, func(_ int, at time.Time) { d.get(at, monitor, "/healthz", 200) })
	office := d.address()
	d.innocents[office] = "office"
	for range 15 {
		visit(office, morning.Add(8*time.Hour+time.Duration(d.IntN(3600))*time.Second), 60, 45*time.Second)
	}
}

// TestAttackersAreCaught prints which share of them is isolated, alone or with their network, and whom else.
func TestAttackersAreCaught(t *testing.T) {
	caught, came := map[string]int{}, map[string]int{}
	wrong := map[string]int{}
	peaceful := 0
	for seed := range uint64(3) {
		for format, draw := range map[string][]func(*day){"sshd": {(*day).besiege, (*day).work}, "nginx-access": {(*day).raid, (*day).browse}} {
			d := &day{Rand: rand.New(rand.NewPCG(seed, 4)), attackers: map[netip.Addr]string{}, innocents: map[netip.Addr]string{}}
			for _, f := range draw {
				f(d)
			}
			o := replayOptions(format)
			o.Rules.Rules.MaxSources = 100_000
			all, _, _ := replayOf(t, d.log(), o)
			var isolated []netip.Prefix
			for _, r := range all {
				if r.Action == "isolate" {
					p, err := shivx.ParseSource(r.Source)
					require.NoError(t, err)
					isolated = append(isolated, p)
				}
			}
			in := func(a netip.Addr) bool {
				return slices.ContainsFunc(isolated, func(p netip.Prefix) bool { return p.Contains(a) })
			}
			for a, kind := range d.attackers {
				came[kind]++
				if in(a) {
					caught[kind]++
				}
			}
			peaceful += len(d.innocents)
			for a, kind := range d.innocents {
				if in(a) {
					wrong[kind]++
				}
			}
		}
	}
	n, of := 0, 0
	for _, kind := range slices.Sorted(maps.Keys(came)) {
		t.Logf("%-9s %4d of %4d caught", kind, caught[kind], came[kind])
		n, of = n+caught[kind], of+came[kind]
	}
	t.Logf("%.1f %% of %d attackers caught; isolated of %d others: %v", 100*float64(n)/float64(of), of, peaceful, wrong)
	require.GreaterOrEqual(t, float64(n), 0.95*float64(of))
	require.Empty(t, wrong)
}
