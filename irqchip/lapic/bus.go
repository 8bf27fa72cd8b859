package lapic

import (
	"fmt"
	"sync"
	"sync/atomic"

	"doorbell/internal/ledger"
	"doorbell/internal/pci"
)

// MaxAPICs is how many APICs a bus can have.
const MaxAPICs = 1024

// Bus carries messages to the APICs of a machine. Any thread may send; nothing on the way locks or allocates.
type Bus struct {
	kick        func(vcpu int)
	descriptors []Descriptor // by vCPU
	routes      atomic.Pointer[routes]
	moving      sync.Mutex // serializes changes of routes

	// turn is whose turn it is to take a message of lowest priority, by vector: two sources that alternate would otherwise always
	// meet the same processor.
	turn [256]atomic.Uint32

	sent, nobody, kicks ledger.Shared
}

// NewBus makes the bus of a machine with n vCPUs. kick takes a vCPU out of the guest, or wakes it, so that it calls Sync; it is called on the
// sender's thread, and must not send. A vCPU that sends an IPI is not kicked for its own copy, yet an IOAPIC that answers an EOI can have the very
// vCPU kicked whose thread it is called on. No APIC is on the bus before Connect.
func NewBus(n int, kick func(vcpu int)) (*Bus, error) {
	if n < 1 || n > MaxAPICs {
		return nil, fmt.Errorf("lapic: a bus with %d APICs: 1 to %d are possible", n, MaxAPICs)
	}
	b := &Bus{kick: kick, descriptors: make([]Descriptor, n)}
	b.routes.Store(newRoutes(make([]Address, n)))
	return b, nil
}

// Connect makes the APIC of a vCPU and puts it on the bus: of cfg, it sets Out, Moved and Descriptor.
func (b *Bus) Connect(vcpu int, cfg Config) (*APIC, error) {
	if uint(vcpu) >= uint(len(b.descriptors)) {
		return nil, fmt.Errorf("lapic: vCPU %d on a bus for %d", vcpu, len(b.descriptors))
	}
	if cfg.ID == Broadcast {
		return nil, fmt.Errorf("lapic: vCPU %d has the ID of the broadcast", vcpu)
	}
	cfg.Out = &port{b, vcpu}
	cfg.Moved = func(to Address) { b.move(vcpu, to) }
	cfg.Descriptor = &b.descriptors[vcpu]
	return New(cfg), nil
}

// move changes the address of one APIC. Senders go on with the routes that they have seen; a message that crosses a move reaches either place.
// A guest that moves its APIC without end makes garbage at the rate of its own exits, and no more than one table of it is in use.
func (b *Bus) move(vcpu int, to Address) {
	b.moving.Lock()
	defer b.moving.Unlock()
	at := append([]Address(nil), b.routes.Load().at...)
	at[vcpu] = to
	b.routes.Store(newRoutes(at))
}

// Result is what became of a message.
type Result struct {
	// Accepted is how many APICs took it. Coalesced of them had the same vector waiting to be taken.
	Accepted, Coalesced int
}

// port is one vCPU's way to the bus.
type port struct {
	bus  *Bus
	vcpu int
}

// Send implements Out.
func (p *port) Send(m Message) { p.bus.send(m, p.vcpu) }

// fromDevice is the sender of a message that is no vCPU.
const fromDevice = -1

// Send is a message from a device or an IOAPIC. Shorthands are those of APICs: All is a broadcast, AllButSelf as well, and Self reaches nobody.
func (b *Bus) Send(m Message) Result { return b.send(m, fromDevice) }

// SendMSI is a message-signalled interrupt. ok is false when the address is not the APICs', and the message an ordinary write.
func (b *Bus) SendMSI(msi pci.Message) (r Result, ok bool) {
	m, ok := DecodeMSI(msi)
	if !ok {
		return Result{}, false
	}
	return b.send(m, fromDevice), true
}

// send posts m to its destinations and kicks those that ask for it, but for the sender itself, which is not in the guest.
func (b *Bus) send(m Message, from int) (r Result) {
	b.sent.Add(1)
	// Only a processor can start another one: devices' messages have no such mode (SDM section 11.11.2).
	if !m.deasserts() && (m.Mode != StartUp || from != fromDevice) {
		var to set
		b.routes.Load().resolve(m, from, &to)
		if m.Mode == Fixed || m.Mode == LowestPriority {
			b.keepAccepting(&to)
		}
		if m.Mode == LowestPriority {
			if n := to.len(); n > 1 {
				to.keep(int(b.turn[m.Vector].Add(1) % uint32(n)))
			}
		}
		r = b.post(m, from, &to)
	}
	if r.Accepted == 0 {
		b.nobody.Add(1)
	}
	return r
}

func (b *Bus) post(m Message, from int, to *set) (r Result) {
	for v := to.next(0); v >= 0; v = to.next(v + 1) {
		notify, accepted, coalesced := b.descriptors[v].deliver(m)
		if accepted {
			r.Accepted++
		}
		if coalesced {
			r.Coalesced++
		}
		if notify && v != from {
			b.kicks.Add(1)
			if b.kick != nil {
				b.kick(v)
			}
		}
	}
	return r
}

// keepAccepting removes the APICs that take no vectors.
func (b *Bus) keepAccepting(to *set) {
	for v := to.next(0); v >= 0; v = to.next(v + 1) {
		if !b.descriptors[v].accepting.Load() {
			to.remove(v)
		}
	}
}

// deliver posts a message that has reached its destination.
func (d *Descriptor) deliver(m Message) (notify, accepted, coalesced bool) {
	switch m.Mode {
	case Fixed, LowestPriority:
		notify, coalesced = d.post(m.Vector, m.Trigger)
		return notify, m.Vector >= firstVector, coalesced
	case SMI:
		return d.PostSMI(), true, false
	case NMI:
		return d.PostNMI(), true, false
	case INIT:
		return d.PostINIT(), true, false
	case StartUp:
		return d.PostSIPI(m.Vector), true, false
	case ExtINT:
		return d.PostExtINT(), true, false
	}
	return false, false, false
}
