package vmm

import (
	"errors"
	"fmt"
	"sync/atomic"

	"doorbell/virtio"
	"doorbell/virtio/backend"
	"doorbell/virtio/netdev"
	"doorbell/virtio/tap"
	"doorbell/virtio/usernet"
)

// netCard is the machine's network card: backend, device and transport, each made after and closed before the one that it stands on.
type netCard struct {
	backend   backend.Backend
	device    *netdev.Device
	transport *virtio.PCI
	off       uint64 // NetConfig.Off
	events    eventLog
	seen      atomic.Pointer[netdev.State] // while a driver had it: see remember
}

// remember keeps what the driver has set up, since a guest that powers off resets its devices before the report is drawn up. The
// agent's goroutine calls it at each of its phases.
func (n *netCard) remember() {
	if s := n.device.State(); s.Active {
		n.seen.Store(&s)
	}
}

// state is what the driver has set up, or had last.
func (n *netCard) state() netdev.State {
	n.remember()
	if s := n.seen.Load(); s != nil {
		return *s
	}
	return n.device.State()
}

// netSlot is the card's device number on the bus.
const netSlot = 1

// createNet makes the card that the configuration asks for, and puts it on the bus.
func (m *Machine) createNet() error {
	c := m.cfg.Net
	if c.Backend == "" {
		return nil
	}
	n := &netCard{off: c.Off}
	m.net = n
	pairs := c.pairs(m.cfg.VCPUs)
	if c.MAC == nil {
		c.MAC = defaultMAC
	}
	var err error
	if n.backend, err = openBackend(c, pairs); err != nil {
		return fmt.Errorf("--net %s: %w", c.Backend, err)
	}
	if t, ok := n.backend.(*tap.Tap); ok {
		if w := t.Warning(); w != "" {
			m.cfg.Log("%s", w)
		}
	}
	if n.device, err = netdev.New(netdev.Config{Name: "net0", Backend: n.backend, MAC: c.MAC, IO: c.IO, Disable: c.Off}); err != nil {
		return err
	}
	n.transport, err = virtio.NewPCI(n.device, virtio.Config{
		Name: "net0", Memory: m.memory, Vectors: m.chip, Doorbells: m.pci, Disable: c.Off, Observe: n.events.add,
	})
	if err != nil {
		return err
	}
	return m.pci.attach(netSlot, n.transport.Function())
}

// openBackend opens what carries the packets. The result is nil after an error, not a typed nil.
func openBackend(c NetConfig, pairs int) (backend.Backend, error) {
	if c.Backend == "tap" {
		t, err := tap.Open(tap.Config{Name: c.Tap, Queues: pairs})
		if err != nil {
			return nil, err
		}
		return t, nil
	}
	u, err := usernet.New(usernet.Config{Queues: pairs, MAC: c.MAC, Forwards: c.Forwards})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// close takes the card apart. The guest does not run any more and the bus has been reset.
func (n *netCard) close() error {
	var errs []error
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	if n.device != nil {
		errs = append(errs, n.device.Close())
	}
	if n.backend != nil {
		errs = append(errs, n.backend.Close())
	}
	return errors.Join(errs...)
}
