package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/internal/tinyguest"
	"doorbell/vcpu"
	"doorbell/vmm"
)

const (
	ipiRounds = 3
	ipiCount  = 300
	// ipiPoll is how often this process looks whether the guest has come to its end, on the sender's processor: as often while nothing is sent.
	ipiPoll = 10 * time.Millisecond
)

// An ipiArm is a way to send an IPI, and whom to.
type ipiArm struct {
	to    tinyguest.Destination
	by    tinyguest.Sending
	halts bool // the other vCPUs are halted
	two   bool // there are two others; else one
}

func (a ipiArm) name() string {
	to := map[tinyguest.Destination]string{tinyguest.ToSelf: "self", tinyguest.ToOther: "one", tinyguest.ToAllButSelf: "all but self"}[a.to]
	by := map[tinyguest.Sending]string{tinyguest.ByXAPIC: "xAPIC", tinyguest.ByX2APIC: "x2APIC", tinyguest.ByHypercall: "PV IPI"}[a.by]
	if a.two {
		to += " of three"
	}
	if a.to == tinyguest.ToSelf {
		return to + ", " + by
	}
	if a.halts {
		return to + ", " + by + ", halted"
	}
	return to + ", " + by + ", running"
}

// ipiArms are those for which there are processors: a broadcast to more than one takes a third.
func ipiArms(three bool) (arms []ipiArm) {
	for _, by := range []tinyguest.Sending{tinyguest.ByXAPIC, tinyguest.ByX2APIC} {
		arms = append(arms, ipiArm{to: tinyguest.ToSelf, by: by})
	}
	for _, halts := range []bool{false, true} {
		for _, by := range []tinyguest.Sending{tinyguest.ByXAPIC, tinyguest.ByX2APIC, tinyguest.ByHypercall} {
			arms = append(arms, ipiArm{to: tinyguest.ToOther, by: by, halts: halts})
		}
		arms = append(arms, ipiArm{to: tinyguest.ToAllButSelf, by: tinyguest.ByX2APIC, halts: halts})
		if three {
			for _, by := range []tinyguest.Sending{tinyguest.ByX2APIC, tinyguest.ByHypercall} {
				arms = append(arms, ipiArm{tinyguest.ToAllButSelf, by, halts, true})
			}
		}
	}
	return arms
}

// others is how many vCPUs there are beside the sender.
func (a ipiArm) others() int {
	if a.two {
		return 2
	}
	return 1
}

// ipiCounts are exits per IPI, less what the same vCPUs have in the same time without; those of two targets are a target's mean.
type ipiCounts struct {
	sender, target float64
}

// ipiMoment is how many exits the sender has had, and the others together.
type ipiMoment struct {
	at             time.Time
	sender, target uint64
}

// measureIPI makes the arm's guest, has it send its IPIs, and watches it before.
func measureIPI(sys *kvm.System, cpus *processors, arm ipiArm) (c *ipiCounts, err error) {
	g, err := tinyguest.NewIPI(sys, tinyguest.IPI{To: arm.to, By: arm.by, Others: arm.others(), Halts: arm.halts, Count: ipiCount, Vendor: kvm.HostVendor()})
	if err != nil {
		return nil, err
	}
	defer g.Close()
	if err := countable(g.CPU); err != nil {
		return nil, err
	}
	// The guest paces itself: this process sleeps meanwhile, and the sender has its processor.
	if err := cpus.place(g.Second.TID()); err != nil {
		return nil, err
	}
	all := []*vcpu.CPU{g.CPU, g.Second}
	if arm.two {
		if err := placeOn(g.Third.TID(), cpus.third); err != nil {
			return nil, err
		}
		all = append(all, g.Third)
	}
	for _, c := range all {
		c.Run()
	}
	defer func() { err = errors.Join(err, halt(all...)) }()
	now := func() (m ipiMoment, err error) {
		if m.sender, err = exitsOf(g.CPU); err != nil {
			return m, err
		}
		for _, c := range all[1:] {
			exits, err := exitsOf(c)
			if err != nil {
				return m, err
			}
			m.target += exits
		}
		m.at = time.Now()
		return m, nil
	}
	time.Sleep(50 * time.Millisecond) // until all wait
	var m [4]ipiMoment
	for i := range m[:2] { // nothing happens
		if m[i], err = now(); err != nil {
			return nil, err
		}
		for end := time.Now().Add(controlTime); i == 0 && time.Now().Before(end); time.Sleep(ipiPoll) {
		}
	}
	targets := []int{1}
	switch {
	case arm.to == tinyguest.ToSelf:
		targets = []int{0}
	case arm.two:
		targets = []int{1, 2}
	}
	if m[2], err = now(); err != nil {
		return nil, err
	}
	g.Go()
	for start := time.Now(); ; time.Sleep(ipiPoll) {
		if _, ended := g.IPIs(targets...); ended >= ipiCount {
			break
		}
		if time.Since(start) > 2*interruptLimit {
			sent, ended := g.IPIs(targets...)
			return nil, fmt.Errorf("%d IPIs sent, %d ended after %v", sent, ended, 2*interruptLimit)
		}
	}
	if m[3], err = now(); err != nil {
		return nil, err
	}
	for _, target := range targets {
		if sent, ended := g.IPIs(target); sent != ipiCount || ended != ipiCount {
			return nil, fmt.Errorf("the figures do not balance: %d IPIs sent, %d ended by vCPU %d", sent, ended, target)
		}
	}
	share := m[3].at.Sub(m[2].at).Seconds() / m[1].at.Sub(m[0].at).Seconds()
	less := func(from, to, quietFrom, quietTo uint64) float64 {
		return (float64(to-from) - float64(quietTo-quietFrom)*share) / ipiCount
	}
	c = &ipiCounts{sender: less(m[2].sender, m[3].sender, m[0].sender, m[1].sender), target: less(m[2].target, m[3].target, m[0].target, m[1].target) / float64(arm.others())}
	err = errors.Join(
		drowned(c.sender, float64(m[1].sender-m[0].sender)*share/ipiCount),
		drowned(c.target, float64(m[1].target-m[0].target)*share/ipiCount/float64(arm.others())))
	return c, err
}

// IPI is the experiment `ipi`: what an interrupt from one vCPU to another costs.
func IPI(ctx context.Context, cfg vmm.Config) (doc *report.Document, _ *vmm.Result, err error) {
	doc = &report.Document{Environment: probe.Host()}
	b, err := openBench()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	arms := ipiArms(b.cpus.third >= 0)
	sender, target := make([]spread, len(arms)), make([]spread, len(arms))
	order := newRounds(ctx, ipiRounds)
	failures := order.each(ctx, cfg, "ipi", namesOf(arms, ipiArm.name), func(i int) error {
		c, err := measureIPI(b.sys, b.cpus, arms[i])
		if err != nil {
			return err
		}
		sender[i], target[i] = append(sender[i], c.sender), append(target[i], c.target)
		return nil
	})
	e := report.Experiment{Name: "ipi", Missing: map[string]string{}, Parameters: order.parameters(),
		Literature: literaturePaths, Table: &report.Table{Columns: []string{"to, by, target", "exits of the sender", "least", "most", "of a target", "least", "most"}}}
	e.Parameters["ipis_per_round"] = ipiCount
	if b.cpus.third < 0 {
		e.Missing["all but self of three"] = "three vCPUs that run at once need three processors"
	}
	picture := &report.Plot{Title: "exits per IPI", Parts: []string{"of the sender", "of a target"}}
	e.Plots = []*report.Plot{picture}
	for i, a := range arms {
		if missed(&e, a.name(), failures[i], context.Cause(ctx), len(sender[i]), order.n) {
			continue
		}
		row := map[string]any{"ipi": a.name()}
		sender[i].into(row, "sender_exits_per_ipi")
		target[i].into(row, "target_exits_per_ipi")
		e.Rows = append(e.Rows, row)
		cells := []string{a.name()}
		for _, s := range []spread{sender[i], target[i]} {
			low, high := s.bounds()
			cells = append(cells, fixed(s.median(), 2), fixed(low, 2), fixed(high, 2))
		}
		e.Table.Rows = append(e.Table.Rows, cells)
		picture.Bars = append(picture.Bars, bar(a.name(), sender[i].median(), target[i].median()))
	}
	if len(e.Rows) == 0 {
		return nil, nil, fmt.Errorf("none of the IPIs could be measured: %s", reasons(e.Missing))
	}
	e.Finding = e.Sentence("ipi",
		report.Clause{Row: "one, xAPIC, running", Figure: "sender_exits_per_ipi", Words: "an IPI costs its sender %.2f exits by xAPIC"},
		report.Clause{Row: "one, x2APIC, running", Figure: "sender_exits_per_ipi", Words: "%.2f by x2APIC"},
		report.Clause{Row: "one, PV IPI, running", Figure: "sender_exits_per_ipi", Words: "%.2f by hypercall"},
		report.Clause{Row: "one, x2APIC, running", Figure: "target_exits_per_ipi", Words: "and its target %.2f if that runs"},
		report.Clause{Row: "one, x2APIC, halted", Figure: "target_exits_per_ipi", Words: "%.2f if it has halted"})
	doc.Experiments = []report.Experiment{b.cpus.placed(e)}
	return doc, nil, nil
}
