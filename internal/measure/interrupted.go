package measure

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/internal/pci"
	"doorbell/internal/tinyguest"
	"doorbell/vcpu"

	"golang.org/x/sys/unix"
)

const (
	// betweenInterrupts is longer than a guest needs to come back from its handler.
	betweenInterrupts = 20 * time.Microsecond
	// interruptLimit is after how long without a sign of it an interrupt is lost.
	interruptLimit = 5 * time.Second
	// controlTime is at least how long a guest is watched that nobody interrupts.
	controlTime = 150 * time.Millisecond
	// messageGSI is a GSI that no pin has, and messagePin a pin that is no IRQ of the PICs.
	messageGSI, messagePin = 24, 20
	// messageAddress and tinyguest.Vector are a message for the vCPU with APIC id 0: fixed, edge, physical (Intel SDM volume 3, 11.11).
	messageAddress = 0xfee0_0000
)

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
