package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/internal/tinyguest"
	"doorbell/vmm"
)

const (
	lineRounds     = 3
	lineInterrupts = 200
)

// A lineArm is how two devices interrupt, and when.
type lineArm struct {
	shared bool // one level-triggered pin for both; otherwise a vector each
	when   string
	fires  func(i int) [tinyguest.SharedDevices]bool
}

func (a lineArm) name() string {
	if a.shared {
		return "one level pin, " + a.when
	}
	return "a vector each, " + a.when
}

func lineArms() (arms []lineArm) {
	for _, shared := range []bool{true, false} {
		arms = append(arms,
			lineArm{shared, "one device alone", func(int) [2]bool { return [2]bool{true, false} }},
			lineArm{shared, "in turns", func(i int) [2]bool { return [2]bool{i%2 == 0, i%2 == 1} }},
			lineArm{shared, "both at once", func(int) [2]bool { return [2]bool{true, true} }},
		)
	}
	return arms
}

// lineDevices are two devices with a status each, and what they interrupt by.
type lineDevices struct {
	vm     *kvm.VM
	shared bool

	mu      sync.Mutex
	pending [tinyguest.SharedDevices]bool
	high    bool // the line
	err     error
}

// fire has devices want something.
func (d *lineDevices) fire(which [tinyguest.SharedDevices]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, want := range which {
		if !want {
			continue
		}
		d.pending[n] = true
		if !d.shared {
			_, err := d.vm.SignalMSI(messageAddress, tinyguest.Vector+uint32(n))
			d.err = errors.Join(d.err, err)
		}
	}
	d.line()
}

// line drives the shared line: high while one of the devices wants something.
func (d *lineDevices) line() {
	level := d.pending[0] || d.pending[1]
	if d.shared && level != d.high {
		d.high = level
		d.err = errors.Join(d.err, d.vm.IRQLine(messagePin, level))
	}
}

// Port implements vcpu.Bus.
func (d *lineDevices) Port(_ int, port uint16, _ int, write bool, p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(p)
	for n := range d.pending {
		switch {
		case port == tinyguest.StatusPort+uint16(n) && !write && d.pending[n]:
			p[0] = 1
		case port == tinyguest.StatusQuietPort+uint16(n) && write:
			d.pending[n] = false
			d.line()
		}
	}
}

// Memory implements vcpu.Bus.
func (*lineDevices) Memory(int, uint64, bool, []byte) {}

// lineCounts is what a round of an arm gave.
type lineCounts struct {
	wanted, served, vain, handled uint64
	exits                         float64
}

func measureLine(ctx context.Context, sys *kvm.System, cpus *processors, arm lineArm) (c *lineCounts, err error) {
	d := &lineDevices{shared: arm.shared}
	s := tinyguest.Shared{Bus: d}
	if arm.shared {
		s.Pin = messagePin
	}
	g, err := tinyguest.NewShared(sys, s)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	if err := countable(g.CPU); err != nil {
		return nil, err
	}
	d.vm = g.VM
	if err := cpus.place(g.CPU.TID()); err != nil {
		return nil, err
	}
	g.CPU.Run()
	defer func() { err = errors.Join(err, halt(g.CPU)) }()
	cpus.linger(50 * time.Millisecond) // until it halts
	before, err := exitsOf(g.CPU)
	if err != nil {
		return nil, err
	}
	c = &lineCounts{}
	served := func() uint64 { return g.Served(0) + g.Served(1) }
	for i := range lineInterrupts {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		which := arm.fires(i)
		for _, w := range which {
			if w {
				c.wanted++
			}
		}
		d.fire(which)
		if !cpus.await(func() bool { return served() >= c.wanted }, interruptLimit) {
			return nil, fmt.Errorf("interrupt %d was not served in %v", i+1, interruptLimit)
		}
		cpus.linger(calm)
	}
	after, err := exitsOf(g.CPU)
	if err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	c.served, c.vain, c.handled, c.exits = served(), g.InVain(0)+g.InVain(1), g.Ended(), float64(after-before)
	if c.served != c.wanted {
		return nil, fmt.Errorf("the figures do not balance: %d times a device wanted something, %d times it was served", c.wanted, c.served)
	}
	return c, nil
}

// IRQLine is the experiment `irqline`: what it costs that two devices share an interrupt line.
func IRQLine(ctx context.Context, cfg vmm.Config) (doc *report.Document, _ *vmm.Result, err error) {
	doc = &report.Document{Environment: probe.Host()}
	b, err := openBench()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	arms := lineArms()
	vain, exits, interrupts := make([]spread, len(arms)), make([]spread, len(arms)), make([]spread, len(arms))
	order := newRounds(ctx, lineRounds)
	failures := order.each(ctx, cfg, "irqline", namesOf(arms, lineArm.name), func(i int) error {
		c, err := measureLine(ctx, b.sys, b.cpus, arms[i])
		if err != nil {
			return err
		}
		n := float64(c.served)
		vain[i], exits[i], interrupts[i] = append(vain[i], float64(c.vain)/n), append(exits[i], c.exits/n), append(interrupts[i], float64(c.handled)/n)
		return nil
	})
	e := report.Experiment{Name: "irqline", Missing: map[string]string{}, Parameters: order.parameters(), Table: &report.Table{
		Columns: []string{"line, devices", "interrupts per service", "handlers run in vain, per service", "least", "most", "exits per service"},
	}}
	e.Parameters["interrupts_per_round"] = lineInterrupts
	inVain, cost := plot("handlers run in vain, per service"), plot("exits per service")
	e.Plots, e.Literature = []*report.Plot{inVain, cost}, literatureIRQLine
	for i, a := range arms {
		if missed(&e, a.name(), failures[i], context.Cause(ctx), len(vain[i]), order.n) {
			continue
		}
		row := map[string]any{"line": a.name()}
		interrupts[i].into(row, "interrupts_per_service")
		vain[i].into(row, "in_vain_per_service")
		exits[i].into(row, "exits_per_service")
		e.Rows = append(e.Rows, row)
		low, high := vain[i].bounds()
		e.Table.Rows = append(e.Table.Rows, []string{a.name(), fixed(interrupts[i].median(), 2), fixed(vain[i].median(), 2), fixed(low, 2), fixed(high, 2), fixed(exits[i].median(), 2)})
		inVain.Bars, cost.Bars = append(inVain.Bars, bar(a.name(), vain[i].median())), append(cost.Bars, bar(a.name(), exits[i].median()))
	}
	if len(e.Rows) == 0 {
		return nil, nil, fmt.Errorf("nothing was measured: %s", reasons(e.Missing))
	}
	e.Finding = e.Sentence("line",
		report.Clause{Row: "one level pin, one device alone", Figure: "in_vain_per_service", Words: "on a shared line %.2f handlers ran in vain for each service"},
		report.Clause{Row: "one level pin, one device alone", Figure: "exits_per_service", Words: "at %.2f exits"},
		report.Clause{Row: "a vector each, one device alone", Figure: "in_vain_per_service", Words: "with a vector each %.2f"},
		report.Clause{Row: "a vector each, one device alone", Figure: "exits_per_service", Words: "at %.2f"})
	doc.Experiments = []report.Experiment{b.cpus.placed(e)}
	return doc, nil, nil
}
