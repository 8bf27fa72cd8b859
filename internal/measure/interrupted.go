package measure

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/internal/pci"
	"doorbell/internal/tinyguest"
	"doorbell/irqchip"
	"doorbell/vcpu"

	"golang.org/x/sys/unix"
)

// A path is a way by which an interrupt goes to a vCPU.
type path struct {
	name     string
	pin      bool // it goes through a pin of the IOAPIC
	level    bool // which is level-triggered
	userAPIC bool // the local APIC is doorbell's own, outside KVM
}

// The paths.
var (
	bySignalMSI = path{name: "SIGNAL_MSI"}
	byIRQFD     = path{name: "irqfd MSI"}
	byIRQFDPin  = path{name: "irqfd pin", pin: true}
	byLineEdge  = path{name: "IRQ_LINE edge", pin: true}
	byLineLevel = path{name: "IRQ_LINE level", pin: true, level: true}
	byInterrupt = path{name: "KVM_INTERRUPT", userAPIC: true}
)

// An interruptedArm is one way to interrupt a guest that does nothing else than take interrupts.
type interruptedArm struct {
	path   path
	x2apic bool
	halts  bool // the vCPU is halted when the interrupt comes; otherwise it runs
	polls  bool // of one that is halted: its thread does not sleep yet, but polls for what could wake it
	paced  bool // a moment passes between an interrupt's end and the next one; otherwise they come back to back
	pvEOI  bool // the guest ends an interrupt without an exit where KVM lets it
}

// apic names the local APIC's mode.
func (a interruptedArm) apic() string {
	if a.x2apic {
		return "x2APIC"
	}
	return "xAPIC"
}

// target names what the vCPU does when it is interrupted.
func (a interruptedArm) target() string {
	switch {
	case a.polls:
		return "polling"
	case a.halts:
		return "halted"
	case !a.paced:
		return "running, back to back"
	}
	return "running"
}

// guest is what the arm interrupts.
func (a interruptedArm) guest() tinyguest.Interrupted {
	g := tinyguest.Interrupted{X2APIC: a.x2apic, Halts: a.halts, PVEOI: a.pvEOI, Level: a.path.level, Waits: a.path.level}
	if a.path.pin {
		g.Pin = messagePin
	}
	if a.path.userAPIC {
		g.Chip = irqchip.UserName
	}
	return g
}

const (
	// betweenInterrupts is longer than a guest needs to come back from its handler.
	betweenInterrupts = 20 * time.Microsecond
	// interruptLimit is after how long without a sign of it an interrupt is lost.
	interruptLimit = 5 * time.Second
	// pollTime is for how long at most a vCPU polls, in ns: longer than an interrupt is away on any host.
	pollTime = 50_000_000
	// pollsToLearn is how many wake-ups in a row have to come while the vCPU polls before it counts as one that does: KVM lengthens a vCPU's polling
	// step by step (Documentation/virt/kvm/halt-polling.rst).
	pollsToLearn = 3
	// controlTime is at least how long a guest is watched that nobody interrupts.
	controlTime = 150 * time.Millisecond
	// messageGSI is a GSI that no pin has, and messagePin a pin that is no IRQ of the PICs.
	messageGSI, messagePin = 24, 20
	// messageAddress and tinyguest.Vector are a message for the vCPU with APIC id 0: fixed, edge, physical (Intel SDM volume 3, 11.11).
	messageAddress = 0xfee0_0000
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

// interruptedRun is a guest that is being interrupted.
type interruptedRun struct {
	arm        interruptedArm
	cpus       *processors
	guest      *tinyguest.Guest
	exits      *kvmtrace.Counter
	interrupts *kvmtrace.Interrupts
	event      int        // the eventfd of an irqfd
	vector     pci.Vector // of byInterrupt
	times      *latencies
	turns      *turns    // of byInterrupt
	due        time.Time // when the next interrupt is to be sent
	wrote      time.Time // when the last one was: just before the system call
	halts      uint64    // the vCPU's HLTs so far, then
}

// measureInterrupted makes the arm's guest, interrupts it n times, watches it without, and takes it away. With posts it also counts what KVM gave to the
// hardware to deliver.
func measureInterrupted(ctx context.Context, sys *kvm.System, cpus *processors, arm interruptedArm, n int, posts bool) (c *interruptedCounts, err error) {
	r := &interruptedRun{arm: arm, cpus: cpus, event: -1, times: newLatencies()}
	missing := map[string]string{}
	if r.guest, err = tinyguest.NewInterrupted(sys, r.tiny()); err != nil {
		return nil, err
	}
	defer r.close()
	if err := countable(r.guest.CPU); err != nil {
		return nil, err
	}
	if err := r.setPolling(); err != nil {
		return nil, err
	}
	if err := r.connect(); err != nil {
		return nil, err
	}
	tids := []int{r.guest.CPU.TID()}
	if r.exits, err = kvmtrace.Start(kvm.HostVendor(), tids); err != nil {
		missing["exits_by_reason"] = err.Error()
	}
	if posts {
		if r.interrupts, err = kvmtrace.StartInterrupts(tids); err != nil {
			missing["posted_by_tracepoint"] = err.Error()
		}
	}
	if err := cpus.place(r.guest.CPU.TID()); err != nil {
		return nil, err
	}
	r.guest.CPU.Run()
	running := true
	stop := func() error {
		running = false
		return halt(r.guest.CPU)
	}
	defer func() {
		if running {
			_ = stop() // something else went wrong before
		}
	}()
	if err := r.warmUp(); err != nil {
		return nil, err
	}
	before, err := r.sample()
	if err != nil {
		return nil, err
	}
	first := r.guest.Ended()
	polls, counted, err := r.polls()
	if err != nil {
		return nil, err
	}
	r.time(true)
	window := &window{}
	if window.start, err = r.now(); err != nil {
		return nil, err
	}
	for i := range uint64(n) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := r.interrupt(first + i + 1); err != nil {
			return nil, err
		}
	}
	if window.end, err = r.now(); err != nil {
		return nil, err
	}
	r.time(false)
	after, err := r.sample()
	if err != nil {
		return nil, err
	}
	polled, _, err := r.polls()
	if err != nil {
		return nil, err
	}
	seen := r.guest.Ended() - first
	quiet, quietWindow, err := r.control()
	if err != nil {
		return nil, err
	}
	if err := stop(); err != nil {
		return nil, err
	}
	if seen != uint64(n) {
		return nil, fmt.Errorf("the figures do not balance: %d interrupts sent, %d seen", n, seen)
	}
	c = before.perInterrupt(after, quiet, n)
	c.control = quietWindow.rate() * window.seconds() / float64(n)
	c.exits = window.exits()/float64(n) - c.control
	if err := drowned(c.exits, c.control); err != nil {
		return nil, err
	}
	c.userspace = float64(window.end.userspace-window.start.userspace) / float64(n)
	c.sent, c.seen, c.missing, c.times = uint64(n), seen, missing, r.times
	if counted && arm.halts {
		each := float64(polled-polls) / float64(n)
		c.polled = &each
	}
	return c, nil
}

// tiny is the arm's guest; where the local APIC is doorbell's its vCPU's turns are timed.
func (r *interruptedRun) tiny() tinyguest.Interrupted {
	g := r.arm.guest()
	if r.arm.path.userAPIC {
		r.turns = &turns{to: r.times.turning, base: time.Now()}
		g.Controller = func(c vcpu.Controller) vcpu.Controller {
			r.turns.Controller = c
			return r.turns
		}
	}
	return g
}

// time has the turns timed from here on, or no longer.
func (r *interruptedRun) time(on bool) {
	r.due = time.Now()
	if r.turns != nil {
		r.turns.on.Store(on)
	}
}

// setPolling has a vCPU that halts poll before it sleeps, or not, whatever the module's parameter halt_poll_ns says.
func (r *interruptedRun) setPolling() error {
	if !r.arm.halts || r.arm.path.userAPIC {
		return nil
	}
	can, err := r.guest.VM.CheckExtension(kvm.CapHaltPoll)
	switch {
	case err != nil:
		return err
	case can == 0 && r.arm.polls:
		return &kvm.NotSupportedError{Feature: "halt polling for one machine", Reason: "KVM_CAP_HALT_POLL needs Linux 5.8 or newer"}
	case can == 0:
		return nil
	}
	polling := uint64(0)
	if r.arm.polls {
		polling = pollTime
	}
	return r.guest.VM.EnableCap(kvm.CapHaltPoll, polling)
}

// polls is how many wake-ups have come while the vCPU polled.
func (r *interruptedRun) polls() (n uint64, known bool, err error) {
	all, err := r.guest.CPU.Stats().Read()
	n, known = all["halt_successful_poll"]
	return n, known, err
}

// connect makes the arm's path.
func (r *interruptedRun) connect() (err error) {
	message := pci.Message{Address: messageAddress, Data: tinyguest.Vector}
	switch r.arm.path {
	case byInterrupt:
		if r.vector, err = r.guest.Chip.NewVector("measure", 0); err != nil {
			return err
		}
		if err := r.guest.Chip.SetRoutes([]pci.Route{{Vector: r.vector, Message: message}}); err != nil {
			return err
		}
		return r.vector.Connect()
	case byIRQFD, byIRQFDPin:
		gsi := uint32(messageGSI)
		route := kvm.Route{MSI: &kvm.MSIRoute{GSI: messageGSI, AddressLo: uint32(message.Address), Data: message.Data}}
		if r.arm.path.pin {
			gsi = messagePin
		}
		if r.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			return fmt.Errorf("eventfd: %w", err)
		}
		if !r.arm.path.pin { // KVM's own table has the pins
			if err := r.guest.VM.SetGSIRouting([]kvm.Route{route}); err != nil {
				return err
			}
		}
		return r.guest.VM.IRQFD(gsi, r.event)
	}
	return nil
}

func (r *interruptedRun) close() {
	if r.exits != nil {
		r.exits.Close()
	}
	if r.interrupts != nil {
		r.interrupts.Close()
	}
	if r.vector != nil {
		_ = r.vector.Disconnect() // the guest has ended: nothing is lost
		_ = r.guest.Chip.Remove(r.vector)
	}
	r.guest.Close()
	if r.event >= 0 {
		unix.Close(r.event)
	}
}

// send sends one interrupt.
func (r *interruptedRun) send() error {
	r.wrote = time.Now()
	if r.turns != nil {
		r.turns.wrote.Store(int64(r.wrote.Sub(r.turns.base)))
	}
	switch r.arm.path {
	case bySignalMSI:
		_, err := r.guest.VM.SignalMSI(messageAddress, tinyguest.Vector)
		return err
	case byInterrupt:
		r.vector.Fire()
		return nil
	case byLineLevel:
		return r.guest.VM.IRQLine(messagePin, true)
	case byLineEdge:
		return errors.Join(r.guest.VM.IRQLine(messagePin, true), r.guest.VM.IRQLine(messagePin, false))
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	if _, err := unix.Write(r.event, one[:]); err != nil {
		return fmt.Errorf("write to the eventfd: %w", err)
	}
	return nil
}

// lower takes a level line down when the handler has begun, and lets the handler go on.
func (r *interruptedRun) lower() error {
	if !r.arm.path.level {
		return nil
	}
	err := r.guest.VM.IRQLine(messagePin, false)
	r.guest.Quiet(r.guest.Begun())
	return err
}

// warmUp sends until the guest, which has to switch its APIC on first, takes one.
func (r *interruptedRun) warmUp() error {
	for start := time.Now(); r.guest.Ended() == 0; {
		if time.Since(start) > interruptLimit {
			return fmt.Errorf("the guest took no interrupt in %v", interruptLimit)
		}
		if err := r.send(); err != nil {
			return err
		}
		r.cpus.linger(time.Millisecond)
		if err := r.lower(); err != nil {
			return err
		}
	}
	// The last one may be on its way still.
	r.cpus.linger(10 * time.Millisecond)
	if err := r.lower(); err != nil || !r.arm.polls {
		return err
	}
	return r.learnToPoll()
}

// learnToPoll interrupts the vCPU until it polls long enough to be woken from that.
func (r *interruptedRun) learnToPoll() error {
	before, known, err := r.polls()
	if err == nil && !known {
		err = &kvm.NotSupportedError{Feature: "a vCPU that polls", Reason: "KVM does not count halt_successful_poll"}
	}
	for start, inARow := time.Now(), 0; err == nil && inARow < pollsToLearn; {
		if time.Since(start) > interruptLimit {
			return fmt.Errorf("the vCPU was not woken while it polled in %v", interruptLimit)
		}
		if err = r.interrupt(r.guest.Ended() + 1); err != nil {
			return err
		}
		var now uint64
		if now, _, err = r.polls(); now > before {
			inARow++
		} else {
			inARow = 0
		}
		before = now
	}
	// These were no part of it.
	r.times.delivery.Reset()
	r.times.sending.Reset()
	return err
}

// interrupt sends one and waits until the guest has ended it, which makes it the number want.
func (r *interruptedRun) interrupt(want uint64) error {
	if r.arm.halts {
		if err := r.awaitHalt(); err != nil {
			return err
		}
		r.due = time.Now()
	}
	if err := r.send(); err != nil {
		return err
	}
	if !r.cpus.await(func() bool { return r.guest.Begun() >= want }, interruptLimit) {
		return fmt.Errorf("interrupt %d was not taken in %v", want, interruptLimit)
	}
	record(r.times.delivery, time.Since(r.wrote))
	record(r.times.sending, r.wrote.Sub(r.due))
	if err := r.lower(); err != nil {
		return err
	}
	if !r.cpus.await(func() bool { return r.guest.Ended() >= want }, interruptLimit) {
		return fmt.Errorf("interrupt %d was not ended in %v", want, interruptLimit)
	}
	r.due = time.Now()
	if r.arm.paced {
		r.due = r.due.Add(betweenInterrupts)
		r.cpus.linger(betweenInterrupts)
	}
	return nil
}

// awaitPoll waits until the vCPU has halted since the last interrupt was sent: then it polls, for pollTime.
func (r *interruptedRun) awaitPoll() (err error) {
	halted := r.cpus.await(func() bool {
		var all map[string]uint64
		if all, err = r.guest.CPU.Stats().Read(); err != nil || all["halt_exits"] > r.halts {
			r.halts = all["halt_exits"]
			return true
		}
		return false
	}, interruptLimit)
	if err == nil && !halted {
		err = fmt.Errorf("the vCPU did not halt in %v", interruptLimit)
	}
	return err
}

// awaitHalt waits until the vCPU's thread sleeps: KVM says so by its statistic "blocking"; a kernel without it gets a moment.
func (r *interruptedRun) awaitHalt() error {
	if r.arm.polls {
		return r.awaitPoll()
	}
	if r.arm.path.userAPIC {
		if !r.cpus.await(r.guest.CPU.Asleep, interruptLimit) {
			return fmt.Errorf("the vCPU did not halt in %v", interruptLimit)
		}
		return nil
	}
	var err error
	known := true
	halted := r.cpus.await(func() bool {
		var all map[string]uint64
		if all, err = r.guest.CPU.Stats().Read(); err != nil {
			return true
		}
		var blocking uint64
		blocking, known = all["blocking"]
		return !known || blocking != 0
	}, interruptLimit)
	switch {
	case err != nil:
		return err
	case !halted:
		return fmt.Errorf("the vCPU did not halt in %v", interruptLimit)
	case !known:
		r.cpus.linger(time.Millisecond)
	}
	return nil
}

// control watches the guest when nobody interrupts it.
func (r *interruptedRun) control() (quiet [2]*sample, w *window, err error) {
	w = &window{}
	if quiet[0], err = r.sample(); err != nil {
		return quiet, nil, err
	}
	if w.start, err = r.now(); err != nil {
		return quiet, nil, err
	}
	r.cpus.linger(controlTime)
	if w.end, err = r.now(); err != nil {
		return quiet, nil, err
	}
	quiet[1], err = r.sample()
	return quiet, w, err
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
