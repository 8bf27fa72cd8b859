package irqchip

import (
	"fmt"
	"sync"
	"sync/atomic"

	"doorbell/internal/kvm"
	"doorbell/internal/pci"

	"golang.org/x/sys/unix"
)

// router is the part of KVM that message vectors need.
type router interface {
	SetGSIRouting(routes []kvm.Route) error
	IRQFD(gsi uint32, eventfd int) error
	RemoveIRQFD(gsi uint32, eventfd int) error
}

// messages implements pci.Vectors: it owns KVM's routing table and the GSIs that stand for messages.
//
// A GSI is taken when a vector is first routed and given back when it is released. Every change replaces the whole table, which
// disturbs all vCPUs, so that changes come in batches, and a batch that changes nothing does not reach KVM.
type messages struct {
	kvm   router
	fixed []kvm.Route // the chips' own
	limit int         // entries that KVM's table may have, and the end of the GSIs
	spare int         // entries that are kept for pins

	mu     sync.Mutex
	pins   [ioapicPins]pci.Message // level-triggered pins of an IOAPIC outside KVM; the zero message is none
	routed []*MessageVector        // by GSI less firstMessage; nil is free
	inUse  int

	tables atomic.Uint64 // times that the table was replaced
}

// firstMessage is the first GSI that is not a pin of the IOAPIC.
const firstMessage = ioapicPins

func newMessages(r router, fixed []kvm.Route, limit int) messages {
	return messages{kvm: r, fixed: fixed, limit: limit}
}

// TableChanges is how often KVM's routing table was replaced.
func (m *messages) TableChanges() uint64 { return m.tables.Load() }

// NewVector implements pci.Vectors.
func (m *messages) NewVector(device string, n int) (pci.Vector, error) {
	fd, err := newEventFD()
	if err != nil {
		return nil, fmt.Errorf("%s vector %d: %w", device, n, err)
	}
	return &MessageVector{all: m, device: device, number: n, eventfd: fd, gsi: noGSI}, nil
}

// SetRoutes implements pci.Vectors.
func (m *messages) SetRoutes(batch []pci.Route) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	type before struct {
		gsi     int
		message pci.Message
	}
	old := make([]before, len(batch))
	changed := false
	var err error
	done := 0
	for i, r := range batch {
		v := r.Vector.(*MessageVector)
		old[i] = before{v.gsi, v.message}
		if v.gsi == noGSI {
			if err = m.take(v); err != nil {
				break
			}
			changed = true
		}
		changed = changed || v.message != r.Message
		v.message = r.Message
		done++
	}
	if err == nil && changed {
		err = m.install()
	}
	if err == nil {
		return nil
	}
	// From the back: a vector that is in the batch twice ends as it began.
	for i := done - 1; i >= 0; i-- {
		v := batch[i].Vector.(*MessageVector)
		if old[i].gsi == noGSI && v.gsi != noGSI {
			m.give(v)
		}
		v.message = old[i].message
	}
	return err
}

// setPin routes a pin, or takes its route with the zero message. KVM uses the route to know of which vectors' EOIs it has to tell.
func (m *messages) setPin(pin int, msg pci.Message) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pins[pin] == msg {
		return nil
	}
	old := m.pins[pin]
	m.pins[pin] = msg
	if err = m.install(); err != nil {
		m.pins[pin] = old
	}
	return err
}

// Release implements pci.Vectors. A table that KVM refuses leaves routes behind that nothing uses.
func (m *messages) Release(batch []pci.Vector) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := false
	for _, r := range batch {
		if v := r.(*MessageVector); v.gsi != noGSI {
			m.give(v)
			changed = true
		}
	}
	if changed {
		_ = m.install()
	}
}

// Remove implements pci.Vectors.
func (m *messages) Remove(r pci.Vector) error {
	v := r.(*MessageVector)
	if err := unix.Close(v.eventfd); err != nil {
		return fmt.Errorf("%s vector %d: close eventfd: %w", v.device, v.number, err)
	}
	return nil
}

// take gives v the lowest free GSI. Called with mu held.
func (m *messages) take(v *MessageVector) error {
	at := 0
	for at < len(m.routed) && m.routed[at] != nil {
		at++
	}
	if len(m.fixed)+m.spare+m.inUse >= m.limit || firstMessage+at >= m.limit {
		return fmt.Errorf("%s vector %d: no GSI is free: all %d routes of KVM's table are in use", v.device, v.number, m.limit)
	}
	if at == len(m.routed) {
		m.routed = append(m.routed, nil)
	}
	m.routed[at] = v
	m.inUse++
	v.gsi = firstMessage + at
	return nil
}

// give frees v's GSI. Called with mu held.
func (m *messages) give(v *MessageVector) {
	m.routed[v.gsi-firstMessage] = nil
	m.inUse--
	v.gsi = noGSI
}

// install hands KVM the table. Called with mu held.
func (m *messages) install() error {
	routes := append(make([]kvm.Route, 0, len(m.fixed)+len(m.pins)+m.inUse), m.fixed...)
	for pin, msg := range m.pins {
		if msg != (pci.Message{}) {
			routes = append(routes, kvm.Route{MSI: &kvm.MSIRoute{GSI: uint32(pin), AddressLo: uint32(msg.Address), AddressHi: uint32(msg.Address >> 32), Data: msg.Data}})
		}
	}
	for _, v := range m.routed {
		if v != nil {
			routes = append(routes, kvm.Route{MSI: &kvm.MSIRoute{
				GSI: uint32(v.gsi), AddressLo: uint32(v.message.Address), AddressHi: uint32(v.message.Address >> 32), Data: v.message.Data,
			}})
		}
	}
	m.tables.Add(1)
	return m.kvm.SetGSIRouting(routes)
}
