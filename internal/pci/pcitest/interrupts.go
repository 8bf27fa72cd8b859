package pcitest

import (
	"errors"
	"sync"

	"doorbell/internal/pci"
)

// Interrupts is interrupt controllers that count what arrives. It complains about vectors that are routed or released while they are
// connected, and connected without a route.
type Interrupts struct {
	tb TB

	mu      sync.Mutex
	vectors map[*Vector]struct{}
	// Limit is the number of GSIs; 0 means that there is no limit.
	limit   int
	gsis    int
	batches int
}

// NewInterrupts makes controllers with room for limit routes, or any number if it is 0.
func NewInterrupts(tb TB, limit int) *Interrupts {
	return &Interrupts{tb: tb, limit: limit, vectors: map[*Vector]struct{}{}}
}

// Vector is one way to the guest.
type Vector struct {
	all       *Interrupts
	connected bool
	routed    bool
	route     pci.Message
	count     uint64 // what an eventfd would hold
	delivered map[pci.Message]uint64
}

// NewVector implements pci.Vectors.
func (i *Interrupts) NewVector(string, int) (pci.Vector, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	v := &Vector{all: i, delivered: map[pci.Message]uint64{}}
	i.vectors[v] = struct{}{}
	return v, nil
}

// SetRoutes implements pci.Vectors.
func (i *Interrupts) SetRoutes(batch []pci.Route) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	need := 0
	for _, r := range batch {
		v := r.Vector.(*Vector)
		if v.connected {
			i.tb.Errorf("a vector is routed while it is connected")
		}
		if !v.routed {
			need++
		}
	}
	if i.limit > 0 && i.gsis+need > i.limit {
		return errors.New("no GSI is free")
	}
	i.gsis += need
	i.batches++
	for _, r := range batch {
		v := r.Vector.(*Vector)
		v.routed, v.route = true, r.Message
	}
	return nil
}

// Release implements pci.Vectors.
func (i *Interrupts) Release(batch []pci.Vector) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.batches++
	for _, w := range batch {
		v := w.(*Vector)
		if v.connected || !v.routed {
			i.tb.Errorf("a vector is released while it is connected or without a route")
		}
		v.routed = false
		i.gsis--
	}
}

// Remove implements pci.Vectors.
func (i *Interrupts) Remove(w pci.Vector) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	v := w.(*Vector)
	if v.connected || v.routed {
		i.tb.Errorf("a vector is removed while it is in use")
	}
	delete(i.vectors, v)
	return nil
}

// GSIs is the number of routes in use, Batches that of changes to the routing table, Vectors that of vectors not removed.
func (i *Interrupts) GSIs() int    { i.mu.Lock(); defer i.mu.Unlock(); return i.gsis }
func (i *Interrupts) Batches() int { i.mu.Lock(); defer i.mu.Unlock(); return i.batches }
func (i *Interrupts) Vectors() int { i.mu.Lock(); defer i.mu.Unlock(); return len(i.vectors) }

// Fire implements pci.Vector; the kernel's firing of the eventfd is the same.
func (v *Vector) Fire() {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	if v.connected {
		v.delivered[v.route]++
	} else {
		v.count++
	}
}

// FD implements pci.Vector: there is none.
func (v *Vector) FD() int { return -1 }

// Take implements pci.Vector.
func (v *Vector) Take() uint64 {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	if v.connected {
		v.all.tb.Errorf("a connected vector's eventfd is read")
	}
	n := v.count
	v.count = 0
	return n
}

// Connect implements pci.Vector. As with an irqfd, a count that is there is delivered.
func (v *Vector) Connect() error {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	if v.connected || !v.routed {
		v.all.tb.Errorf("a vector is connected twice or without a route")
	}
	v.connected = true
	if v.count > 0 {
		v.delivered[v.route]++
		v.count = 0
	}
	return nil
}

// Disconnect implements pci.Vector.
func (v *Vector) Disconnect() error {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	if !v.connected {
		v.all.tb.Errorf("a vector is disconnected twice")
	}
	v.connected = false
	return nil
}

// Delivered is how often each message reached the guest.
func (v *Vector) Delivered() map[pci.Message]uint64 {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	m := map[pci.Message]uint64{}
	for k, n := range v.delivered {
		m[k] = n
	}
	return m
}

// Total is how many messages reached the guest.
func (v *Vector) Total() (n uint64) {
	for _, k := range v.Delivered() {
		n += k
	}
	return n
}
