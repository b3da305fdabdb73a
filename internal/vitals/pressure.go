package vitals

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// pressure is the share of time, in percent over 10 s, in which some or all tasks stood still
// (Linux, Documentation/accounting/psi.rst).
type pressure struct {
	some, full       float64
	hasSome, hasFull bool
}

// parsePressure reads the lines "some" and "full" of a pressure file; cpu had no "full" before Linux 5.13.
func parsePressure(data []byte) (pressure, error) {
	var p pressure
	for line := range bytes.Lines(data) {
		kind, rest, _ := strings.Cut(string(line), " ")
		value, ok := strings.CutPrefix(strings.TrimSpace(rest), "avg10=")
		value, _, _ = strings.Cut(value, " ")
		v, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil || math.IsNaN(v) || v < 0 || v > 100+rounding {
			return pressure{}, fmt.Errorf("%q is no line of pressure", excerpt(string(line)))
		}
		switch kind {
		case "some":
			p.some, p.hasSome = v, true
		case "full":
			p.full, p.hasFull = v, true
		default:
			return pressure{}, fmt.Errorf("%q is no line of pressure", excerpt(string(line)))
		}
	}
	if !p.hasSome {
		return pressure{}, errors.New(`has no line "some"`)
	}
	return p, nil
}

// readPressures adds the pressure of the machine, or of the container.
func (s *Sampler) readPressures(c *collector, l containerLimits) {
	for _, x := range [...]struct {
		res                        Resource
		machine, container, figure string
	}{
		{PressureCPU, "/proc/pressure/cpu", cgroupDir + "cpu.pressure", "shivx_host_pressure_cpu"},
		{PressureMemory, "/proc/pressure/memory", cgroupDir + "memory.pressure", "shivx_host_pressure_memory"},
		{PressureIO, "/proc/pressure/io", cgroupDir + "io.pressure", "shivx_host_pressure_io"},
	} {
		path := s.path(x.machine)
		if l.container {
			path = s.path(x.container)
		}
		p, err := read(path, parsePressure)
		switch {
		case err == nil:
			s.had[x.res] = true
			addPressure(c, x.res, path, x.figure, p)
		case notThere(err) && !s.had[x.res]: // this kernel does not have it
		default:
			c.missing(x.res, "", err.Error())
		}
	}
}

// addPressure takes "some" for the CPU, of which "full" means nothing for a whole machine, and
// "full" for the others: some task waits for the disk on any healthy host.
func addPressure(c *collector, res Resource, path, figure string, p pressure) {
	value, what := p.some, "of the time a task waited"
	if res != PressureCPU {
		if !p.hasFull {
			c.missing(res, "", path+`: has no line "full"`)
			return
		}
		value, what = p.full, "of the time all tasks stood still"
	}
	if !c.add(Reading{Resource: res, Percent: value, Detail: short(value) + " % " + what + " (10 s)"}, rounding) {
		return
	}
	c.figure(figure+"_waiting_ratio", p.some/100)
	if res != PressureCPU {
		c.figure(figure+"_stalled_ratio", p.full/100)
	}
}
