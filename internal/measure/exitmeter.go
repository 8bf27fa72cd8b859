package measure

import (
	"fmt"
	"time"

	"doorbell/internal/ledger"
	"doorbell/internal/tinyguest"
	"doorbell/vmm"
)

// Ports of the meter's bus: its device's one register, and one where nobody answers.
const (
	meteredPort = 0xc0
	strayPort   = 0xc8
)

// An exitMeter times a guest's exits on the thread that serves them, batch by batch: no other thread has a part in it. It is the guest's bus.
type exitMeter struct {
	guest *tinyguest.Guest
	buses map[bool]*vmm.Bus // by whether they count
	bus   *vmm.Bus          // the present batch's

	plan    []countingArm
	at      int // in plan
	started time.Time
	taken   map[countingArm]spread // what each batch took, in ns

	next chan []countingArm // a plan, for the vCPU's thread
	done chan struct{}      // receives when a plan is at its end, and when the guest waits for its first
}

// newExitMeter makes a guest that waits for a plan, on its processor.
func newExitMeter(b *bench) (_ *exitMeter, err error) {
	m := &exitMeter{taken: map[countingArm]spread{}, buses: map[bool]*vmm.Bus{}, next: make(chan []countingArm), done: make(chan struct{}, 1)}
	if m.guest, err = tinyguest.NewExiting(b.sys, tinyguest.Exiting{WarmUp: ledgerWarmUp, Pairs: ledgerPairs}, m); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	for counted, l := range map[bool]*ledger.Ledger{true: m.guest.Ledger, false: nil} {
		if m.buses[counted], err = vmm.OneDevice(l, "measured", meteredPort, 1, silent{}); err != nil {
			return nil, err
		}
	}
	if err := b.cpus.place(m.guest.CPU.TID()); err != nil {
		return nil, err
	}
	m.bus = m.buses[true]
	m.guest.CPU.Run()
	return m, m.await()
}

// silent is a device whose register does nothing.
type silent struct{}

func (silent) Read(uint64, []byte)              {}
func (silent) Write(uint64, []byte)             {}
func (silent) RegisterName(uint64, bool) string { return "register" }

// run has the guest make a batch for each arm of a plan, and compares what the ledger counted with what the guest made.
func (m *exitMeter) run(plan []countingArm) error {
	book := m.guest.Ledger.VCPU(0)
	before, accesses := book.UserspaceExits(), accessed(m.guest.Ledger)
	m.next <- plan
	if err := m.await(); err != nil {
		return err
	}
	batches := uint64(0)
	for _, a := range plan {
		if a.ledger {
			batches++
		}
	}
	const pairs = 2 * (ledgerWarmUp + ledgerPairs)
	exits, made := book.UserspaceExits()-before, batches*(pairs+2) // with the batch's start and its end
	seen := accessed(m.guest.Ledger) - accesses
	if exits != made || seen != batches*pairs {
		return fmt.Errorf("the figures do not balance: of %d exits to doorbell the ledger has %d, of %d accesses %d", made, exits, batches*pairs, seen)
	}
	return nil
}

// accessed is how many accesses a ledger has of all registers.
func accessed(l *ledger.Ledger) (n uint64) {
	for _, row := range l.Accesses() {
		n += row.Count
	}
	return n
}

// await waits until the guest waits for a plan.
func (m *exitMeter) await() error {
	select {
	case <-m.done:
		return nil
	case s := <-m.guest.CPU.Stopped():
		return fmt.Errorf("the guest ended: %v", s)
	case <-time.After(ledgerLimit):
		return fmt.Errorf("the guest did not make its exits in %v", ledgerLimit)
	}
}

// close takes the guest away, wherever its vCPU is.
func (m *exitMeter) close() {
	m.guest.CPU.Stop()
	close(m.next)
	m.guest.Close()
}

// Port implements vcpu.Bus.
func (m *exitMeter) Port(id int, port uint16, size int, write bool, p []byte) {
	switch port {
	case tinyguest.StartPort:
		m.started = time.Now()
	case tinyguest.TurnPort:
		m.turn()
	default:
		m.bus.Port(id, port, size, write, p)
	}
}

// Memory implements vcpu.Bus.
func (m *exitMeter) Memory(id int, addr uint64, write bool, p []byte) {
	m.bus.Memory(id, addr, write, p)
}

// turn ends a batch and prepares the next one; between plans the guest waits here.
func (m *exitMeter) turn() {
	now := time.Now()
	if len(m.plan) > 0 {
		arm := m.plan[m.at]
		m.taken[arm] = append(m.taken[arm], float64(now.Sub(m.started)))
		m.at++
	}
	if m.at == len(m.plan) {
		m.done <- struct{}{}
		m.plan, m.at = <-m.next, 0
		if len(m.plan) == 0 {
			return // the end: the vCPU has been asked to stop
		}
	}
	arm := m.plan[m.at]
	m.bus = m.buses[arm.ledger]
	port := uint16(meteredPort)
	if arm.stray {
		port = strayPort
	}
	m.guest.SetPort(port)
	if arm.ledger {
		m.guest.CPU.CountIn(m.guest.Ledger)
	} else {
		m.guest.CPU.CountIn(nil)
	}
}
