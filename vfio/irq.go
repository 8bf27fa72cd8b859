package vfio

import (
	"maps"
	"sync"

	"doorbell/internal/pci"
	"doorbell/irqchip"
	"doorbell/vfio/sysfs"
)

// none is no kind of interrupts.
const none = -1

// vectorOf gives the eventfd that a vector's firing signals.
type vectorOf interface{ Vector(n int) pci.Vector }

// interrupts is what the host's device interrupts by: one of INTx, MSI and MSI-X, as the guest's driver has chosen, since VFIO has no two of
// them at once. Before the driver chooses, and after it has put its choice back, that is INTx if the device has it.
type interrupts struct {
	dev     *device
	ways    [3]vectorOf        // of MSI and MSI-X
	line    *irqchip.Resampled // of INTx; nil: the device has none
	onError func(error)

	mu      sync.Mutex // guards what follows; taken inside the capabilities' locks
	kind    int        // which has been enabled, or none
	granted int        // vectors [0, granted) have their eventfd
	used    []bool     // those that the guest has unmasked
	gone    bool

	account [3]map[int]vectorAccount
	base    uint64 // of the INTx row, which the device may share
	grown   uint64 // times that MSI-X had to start again to have more vectors
}

// vectorAccount is what is kept of a vector when the host forgets it.
type vectorAccount struct {
	fired uint64
	last  HostIRQ
}

func newInterrupts(d *device, onError func(error)) *interrupts {
	q := &interrupts{dev: d, kind: none, onError: onError}
	for i := range q.account {
		q.account[i] = map[int]vectorAccount{}
	}
	return q
}

// capability is a pci.Source: MSI or MSI-X.
type capability struct {
	*interrupts
	index int
}

// Enable implements pci.Source. The device has to see its capability enabled, which takes one vector at least.
func (c capability) Enable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop()
	if c.gone {
		return nil
	}
	c.kind, c.used = c.index, make([]bool, c.dev.irqCount(c.index))
	return c.grow(1)
}

// Use implements pci.Source.
func (c capability) Use(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.kind != c.index || n >= len(c.used) {
		return nil // a guest that has both kinds enabled has the last one's
	}
	if err := c.reach(n); err != nil {
		return err
	}
	c.used[n] = true
	return nil
}

// reach has vector n granted.
func (q *interrupts) reach(n int) error {
	switch {
	case n < q.granted:
		return nil
	case q.kind == irqMSI:
		// A device with several MSI vectors gets all that the guest can use: their number is part of the capability.
		return q.restart(len(q.used))
	case q.dev.irqs[q.kind].Flags&irqNoResize != 0:
		return q.restart(n + 1)
	}
	return q.grow(n + 1)
}

// Disable implements pci.Source.
func (c capability) Disable() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kind != c.index {
		return
	}
	c.stop()
	c.startLine()
}

// grow gives vectors [granted, n) their eventfds.
func (q *interrupts) grow(n int) error {
	var fds []int32
	for i := q.granted; i < n; i++ {
		fds = append(fds, int32(q.ways[q.kind].Vector(i).FD()))
	}
	if err := q.dev.setIRQs(q.kind, irqActionTrigger, q.granted, fds); err != nil {
		return err
	}
	q.granted = n
	return nil
}

// restart has n vectors where the kernel cannot add to those that are enabled. What the device fires in between is lost: each vector in use
// is fired once more, which a driver takes for one that was merged with another.
func (q *interrupts) restart(n int) error {
	q.harvest()
	if err := q.dev.setIRQs(q.kind, irqActionTrigger, 0, nil); err != nil {
		return err
	}
	q.granted = 0
	q.grown++
	if err := q.grow(n); err != nil {
		return err
	}
	for i, used := range q.used {
		if used {
			q.ways[q.kind].Vector(i).Fire()
		}
	}
	return nil
}

// startLine enables INTx: a signal raises the line, and the guest's EOI has the device unmasked, which VFIO masked when it signalled
// (VFIO_IRQ_INFO_AUTOMASKED).
func (q *interrupts) startLine() {
	if q.line == nil || q.gone {
		return
	}
	err := q.dev.setIRQs(irqINTx, irqActionTrigger, 0, []int32{int32(q.line.FD())})
	if err == nil {
		err = q.dev.setIRQs(irqINTx, irqActionUnmask, 0, []int32{int32(q.line.Resample())})
	}
	if err != nil {
		q.onError(err)
		return
	}
	q.kind = irqINTx
	rows, err := hostIRQs(procInterrupts, q.dev.Address.String(), irqINTx)
	if err == nil {
		q.base = rows[0].Count
	}
}

// stop takes from the device whatever it interrupts by.
func (q *interrupts) stop() {
	if q.kind == none {
		return
	}
	q.harvest()
	if err := q.dev.setIRQs(q.kind, irqActionTrigger, 0, nil); err != nil && !q.gone {
		q.onError(err)
	}
	q.kind, q.granted = none, 0
}

const procInterrupts = "/proc/interrupts"

// harvest keeps what the host has counted since the vectors were enabled; it forgets it with them.
func (q *interrupts) harvest() {
	if q.kind != none {
		q.account[q.kind] = q.soFar(q.kind)
	}
}

// soFar is what was kept of a kind by vector, and what the host has counted since.
func (q *interrupts) soFar(index int) map[int]vectorAccount {
	all := maps.Clone(q.account[index])
	if q.kind != index {
		return all
	}
	rows, err := hostIRQs(procInterrupts, q.dev.Address.String(), index)
	if err != nil {
		return all // the account lacks what could not be read
	}
	withRemapping(sysfs.Host{}, q.dev.Address, rows)
	for n, row := range rows {
		count := row.Count
		if index == irqINTx {
			count -= min(count, q.base)
		}
		all[n] = vectorAccount{all[n].fired + count, row}
	}
	return all
}

// begin enables INTx before the guest runs.
func (q *interrupts) begin() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.startLine()
}

// end takes the interrupts from the device for good.
func (q *interrupts) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stop()
	q.gone = true
}

// counts is the account of a kind by vector, up to now.
func (q *interrupts) counts(index int) map[int]vectorAccount {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.soFar(index)
}
