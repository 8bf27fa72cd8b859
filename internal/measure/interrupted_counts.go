package measure

import (
	"fmt"
	"slices"
	"time"

	"doorbell/internal/kvmtrace"
	"doorbell/internal/tinyguest"
	"doorbell/irqchip"
)

// interruptedCounts is what an arm gave. Counts per interrupt are less what the same guest costs in the same time when nobody interrupts it.
type interruptedCounts struct {
	sent, seen uint64
	exits      float64            // per interrupt
	userspace  float64            // of these, to this process
	control    float64            // exits that were subtracted, per interrupt
	reasons    map[string]float64 // per interrupt; nil where the tracepoint is missing
	posted     *uint64            // interrupts that KVM gave to the hardware to deliver, by its tracepoint
	host       map[string]uint64  // what the host's own notifications counted (/proc/interrupts)
	polled     *float64           // wake-ups from a halt that came while the vCPU polled, per interrupt; nil where the kernel does not count them
	times      *latencies
	missing    map[string]string
}

// drowned is the error for a figure that is no more than what was subtracted of it left: on a host that by itself takes the guest out more often than the
// interrupts do, nothing can be said of them.
func drowned(exits, control float64) error {
	const least = -0.25 // more than what the host's own exits vary by
	if exits < least {
		return fmt.Errorf("the figures do not balance: %.2f exits for each interrupt, and %.2f in the same time without any: the host's own are too many", exits+control, control)
	}
	return nil
}

// sample is the state of the counters that say what the exits were.
type sample struct {
	tracedAt time.Time
	reasons  map[string]uint64
	posted   *uint64
	host     map[string]uint64
}

// moment is how many exits the vCPU has had by then.
type moment struct {
	at               time.Time
	exits, userspace uint64
}

// window is from the first interrupt to the last one's end, or a time without: nothing of ours happens in it but what is measured.
type window struct{ start, end moment }

func (w *window) exits() float64   { return float64(w.end.exits - w.start.exits) }
func (w *window) seconds() float64 { return w.end.at.Sub(w.start.at).Seconds() }
func (w *window) rate() float64    { return w.exits() / w.seconds() }

func (r *interruptedRun) now() (moment, error) {
	exits, err := exitsOf(r.guest.CPU)
	return moment{time.Now(), exits, r.guest.Ledger.VCPU(0).UserspaceExits()}, err
}

// sample reads what takes longer to read. Between two samples there is more than between the window's ends.
func (r *interruptedRun) sample() (*sample, error) {
	s := &sample{}
	if r.exits != nil {
		all, _, err := r.exits.Read()
		if err != nil {
			return nil, err
		}
		s.tracedAt, s.reasons = time.Now(), all[0]
	}
	if r.interrupts != nil {
		all, err := r.interrupts.Read()
		if err != nil {
			return nil, err
		}
		if all.Posted != nil {
			n := all.Posted[kvmtrace.Vector{VCPU: 0, Vector: tinyguest.Vector}]
			s.posted = &n
		}
	}
	var err error
	s.host, err = irqchip.Notifications()
	return s, err
}

// perInterrupt is what happened between two samples with n interrupts, less what happened in the same time without.
func (s *sample) perInterrupt(after *sample, quiet [2]*sample, n int) *interruptedCounts {
	c := &interruptedCounts{host: map[string]uint64{}}
	for name := range s.host {
		c.host[name] = after.host[name] - s.host[name]
	}
	if s.posted != nil && after.posted != nil {
		posted := *after.posted - *s.posted
		c.posted = &posted
	}
	if s.reasons != nil || after.reasons != nil {
		share := after.tracedAt.Sub(s.tracedAt).Seconds() / quiet[1].tracedAt.Sub(quiet[0].tracedAt).Seconds()
		c.reasons = map[string]float64{}
		for name := range quiet[1].reasons { // all that there are: the counts only grow
			control := float64(quiet[1].reasons[name]-quiet[0].reasons[name]) * share
			c.reasons[name] = (float64(after.reasons[name]-s.reasons[name]) - control) / float64(n)
		}
	}
	return c
}

// The parts of what an interrupt costs, and the exit reasons of both makers that are each. With an APIC in memory the EOI is an access to its page, with
// an x2APIC one to an MSR.
var exitParts = []struct {
	name, word string
	reasons    []string
}{
	{"kick", "a kick", []string{"external_interrupt", "interrupt"}},
	{"hlt", "the HLT", []string{"hlt"}},
	{"window", "an interrupt window", []string{"interrupt_window", "vintr"}},
	{"eoi", "an EOI", []string{"apic_access", "apic_write", "eoi_induced", "ept_misconfig", "ept_violation", "msr_write", "npf", "msr", "avic_unaccelerated_access"}},
}

// parts sorts the exits of an interrupt; what belongs to none is other.
func (c *interruptedCounts) parts() map[string]float64 {
	if c.reasons == nil {
		return nil
	}
	parts := map[string]float64{"other": 0}
	for _, p := range exitParts {
		parts[p.name] = 0
	}
	for reason, n := range c.reasons {
		name := "other"
		for _, p := range exitParts {
			if slices.Contains(p.reasons, reason) {
				name = p.name
			}
		}
		parts[name] += n
	}
	return parts
}
