package vitals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	gnet "github.com/shirou/gopsutil/v3/net"
)

// minPackets a share is told of at least, so that one of two packets is not half of all.
const minPackets = 100

// netCounters are the counts of the interfaces watched and of TCP.
type netCounters struct {
	interfaces    []gnet.IOCountersStat
	sent, retrans int64
}

// readNetwork adds the share of packets lost or damaged since the last reading.
func (s *Sampler) readNetwork(ctx context.Context, c *collector) {
	now := s.o.Monotonic()
	r := &s.net
	if r.tooSoon(now, Network, c) {
		return
	}
	counters, err := s.netCounters(ctx)
	if err != nil {
		c.missing(Network, "", err.Error())
		return
	}
	before, first := r.base, !r.have
	r.have, r.at, r.base, r.last = true, now, counters, nil
	last := &collector{}
	if first {
		last.missing(Network, "", firstSample)
	} else {
		addNetwork(last, before, counters)
		r.last = last
	}
	addNetworkFigures(last, counters)
	c.readings = append(c.readings, last.readings...)
	c.figures = append(c.figures, last.figures...)
}

func (s *Sampler) netCounters(ctx context.Context) (netCounters, error) {
	ctx = with(ctx, s.netEnv)
	proc := s.netEnv["HOST_PROC"]
	all, err := guard(proc+"/net/dev", func() ([]gnet.IOCountersStat, error) { return gnet.IOCountersWithContext(ctx, true) })
	if err == nil && len(all) == 0 {
		err = errors.New(proc + "/net/dev: has no interfaces, not even the loopback")
	}
	if err != nil {
		return netCounters{}, err
	}
	protocols, err := guard(proc+"/net/snmp", func() ([]gnet.ProtoCountersStat, error) {
		return gnet.ProtoCountersWithContext(ctx, []string{"tcp"})
	})
	if err == nil && len(protocols) == 0 {
		err = errors.New(proc + "/net/snmp: has no counters of TCP")
	}
	if err != nil {
		return netCounters{}, err
	}
	tcp := protocols[0].Stats
	sent, ok1 := tcp["OutSegs"]
	retrans, ok2 := tcp["RetransSegs"]
	if !ok1 || !ok2 || sent < 0 || retrans < 0 {
		return netCounters{}, errors.New(proc + "/net/snmp: has no counters of TCP segments")
	}
	return netCounters{s.watched(all), sent, retrans}, nil
}

// watched picks the interfaces with hardware behind them; without any, as in a container, all
// but the loopback.
func (s *Sampler) watched(all []gnet.IOCountersStat) []gnet.IOCountersStat {
	for name := range s.physical {
		if !slices.ContainsFunc(all, func(i gnet.IOCountersStat) bool { return i.Name == name }) {
			delete(s.physical, name) // another may come under this name
		}
	}
	all = slices.DeleteFunc(all, func(i gnet.IOCountersStat) bool { return i.Name == "lo" })
	var physical []gnet.IOCountersStat
	for _, i := range all {
		is, known := s.physical[i.Name]
		if !known {
			is = s.isPhysical(i.Name)
			s.physical[i.Name] = is
		}
		if is {
			physical = append(physical, i)
		}
	}
	if len(physical) == 0 {
		return all
	}
	return physical
}

// virtualNames begin the names of interfaces of software, for where /sys does not tell.
var virtualNames = []string{"lo", "veth", "docker", "br-", "virbr", "cni", "flannel", "cali", "cilium", "lxc", "tun", "tap", "wg", "dummy", "ifb", "vxlan", "kube", "podman", "bond", "vnet"}

func (s *Sampler) isPhysical(name string) bool {
	dir := s.path("/sys/class/net/" + name)
	if _, err := os.Stat(dir); err != nil {
		return !slices.ContainsFunc(virtualNames, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	_, err := os.Stat(dir + "/device")
	return err == nil
}

// addNetwork tells the worse of two shares: packets with an error or dropped on the interfaces,
// and TCP segments that had to be sent again. The sum would count what was lost here twice.
func addNetwork(c *collector, before, now netCounters) {
	var good, bad float64
	for _, i := range now.interfaces {
		at := slices.IndexFunc(before.interfaces, func(b gnet.IOCountersStat) bool { return b.Name == i.Name })
		if at < 0 {
			continue // new; it counts from here
		}
		b := before.interfaces[at]
		if i.PacketsRecv < b.PacketsRecv || i.PacketsSent < b.PacketsSent || faults(i) < faults(b) {
			c.missing(Network, "", "the counters of "+i.Name+" began anew")
			return
		}
		good += float64(i.PacketsRecv - b.PacketsRecv + i.PacketsSent - b.PacketsSent)
		bad += float64(faults(i) - faults(b))
	}
	if now.sent < before.sent || now.retrans < before.retrans {
		c.missing(Network, "", "the counters of TCP began anew")
		return
	}
	sent, again := float64(now.sent-before.sent), float64(now.retrans-before.retrans)
	lost := 100 * bad / max(good+bad, minPackets)
	resent := 100 * again / max(sent, again, minPackets)
	detail := fmt.Sprintf("%.0f of %.0f packets with errors or dropped, %.0f of %.0f TCP segments sent again", bad, good+bad, again, sent)
	if c.add(Reading{Resource: Network, Percent: max(lost, resent), Detail: detail}, rounding) {
		c.figure("shivx_host_network_faulty_ratio", c.percent()/100)
	}
}

// faults of an interface; what the kernel counts as "fifo" is among the errors or drops of most drivers.
func faults(i gnet.IOCountersStat) uint64 { return i.Errin + i.Errout + i.Dropin + i.Dropout }

func addNetworkFigures(c *collector, n netCounters) {
	for _, i := range n.interfaces {
		for _, f := range [...]struct {
			name  string
			value uint64
		}{
			{"shivx_host_network_receive_bytes_total", i.BytesRecv},
			{"shivx_host_network_transmit_bytes_total", i.BytesSent},
			{"shivx_host_network_receive_packets_total", i.PacketsRecv},
			{"shivx_host_network_transmit_packets_total", i.PacketsSent},
			{"shivx_host_network_receive_errors_total", i.Errin},
			{"shivx_host_network_transmit_errors_total", i.Errout},
			{"shivx_host_network_receive_drops_total", i.Dropin},
			{"shivx_host_network_transmit_drops_total", i.Dropout},
		} {
			c.labelled(f.name, "interface", i.Name, float64(f.value))
		}
	}
	c.figure("shivx_host_tcp_segments_sent_total", float64(n.sent))
	c.figure("shivx_host_tcp_segments_retransmitted_total", float64(n.retrans))
}
