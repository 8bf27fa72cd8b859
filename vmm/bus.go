package vmm

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"doorbell/internal/ledger"
)

// Device answers accesses to its registers. off is relative to the device's base; p is 1 to 8 bytes, little-endian, in
// memory that the call borrows. Several vCPUs may call at once. A guest may access anything in any width.
type Device interface {
	Read(off uint64, p []byte)
	Write(off uint64, p []byte)
	// RegisterName names a register in reports.
	RegisterName(off uint64, write bool) string
}

// region is a device's place in one address space.
type region struct {
	base, size uint64
	device     Device
	id         ledger.DeviceID
}

// space is one address space's regions, sorted by base, none overlapping. A vCPU reads the current slice; changes replace it.
type space struct {
	regions atomic.Pointer[[]region]
}

// find returns the region that holds addr, or nil. A binary search over a handful of entries, without a lock.
func (s *space) find(addr uint64) *region {
	rs := *s.regions.Load()
	lo, hi := 0, len(rs)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if rs[mid].base <= addr {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo > 0 && addr-rs[lo-1].base < rs[lo-1].size {
		return &rs[lo-1]
	}
	return nil
}

// Bus is the machine's address map of devices: which region answers an exit. It counts every access in the ledger.
type Bus struct {
	ledger        *ledger.Ledger
	ports, memory space
	// change is held while a map is replaced: by New, and by a vCPU whose guest moves a BAR. Look-ups never take it.
	change sync.Mutex
}

func newBus(l *ledger.Ledger) *Bus {
	b := &Bus{ledger: l}
	b.ports.regions.Store(&[]region{})
	b.memory.regions.Store(&[]region{})
	return b
}

// OneDevice is the map of a machine with one device, which has size ports from base on: for measuring what an exit to it costs. A nil ledger counts nothing.
func OneDevice(l *ledger.Ledger, name string, base, size uint64, d Device) (*Bus, error) {
	b := newBus(l)
	if err := b.add(name, ledger.Port, base, size, 1, d); err != nil {
		return nil, err
	}
	return b, nil
}

// register gives a device of size bytes its counters, which tell its registers apart by granule bytes; before the first vCPU runs.
func (b *Bus) register(name string, kind ledger.Space, size, granule uint64, d Device) region {
	return region{size: size, device: d, id: b.ledger.AddDevice(name, kind, size, granule, d.RegisterName)}
}

// add registers a device and puts it at base.
func (b *Bus) add(name string, kind ledger.Space, base, size, granule uint64, d Device) error {
	if err := b.place(kind, base, b.register(name, kind, size, granule, d)); err != nil {
		return fmt.Errorf("device %s: %w", name, err)
	}
	return nil
}

func (b *Bus) space(kind ledger.Space) *space {
	if kind == ledger.Memory {
		return &b.memory
	}
	return &b.ports
}

// place puts a registered device at base, while vCPUs may run.
func (b *Bus) place(kind ledger.Space, base uint64, r region) error {
	b.change.Lock()
	defer b.change.Unlock()
	s := b.space(kind)
	rs := slices.Clone(*s.regions.Load())
	at := sort.Search(len(rs), func(i int) bool { return rs[i].base >= base })
	if at < len(rs) && base+r.size > rs[at].base || at > 0 && rs[at-1].base+rs[at-1].size > base {
		return fmt.Errorf("%s %#x+%#x is taken", kind, base, r.size)
	}
	r.base = base
	rs = slices.Insert(rs, at, r)
	s.regions.Store(&rs)
	return nil
}

// remove takes the device at base away. A vCPU that has found it already may still reach it.
func (b *Bus) remove(kind ledger.Space, base uint64) {
	b.change.Lock()
	defer b.change.Unlock()
	s := b.space(kind)
	rs := slices.DeleteFunc(slices.Clone(*s.regions.Load()), func(r region) bool { return r.base == base })
	s.regions.Store(&rs)
}

// Port implements vcpu.Bus.
func (b *Bus) Port(vcpu int, port uint16, size int, write bool, p []byte) {
	r := b.ports.find(uint64(port))
	if r == nil {
		b.ledger.Stray(vcpu, ledger.Port, uint64(port), write, size)
		floating(write, p)
		return
	}
	off := uint64(port) - r.base
	b.ledger.Access(vcpu, r.id, off, write, size)
	for ; len(p) >= size && size > 0; p = p[size:] {
		r.access(off, write, p[:size])
	}
}

// Memory implements vcpu.Bus.
func (b *Bus) Memory(vcpu int, addr uint64, write bool, p []byte) {
	r := b.memory.find(addr)
	if r == nil {
		b.ledger.Stray(vcpu, ledger.Memory, addr, write, len(p))
		floating(write, p)
		return
	}
	off := addr - r.base
	b.ledger.Access(vcpu, r.id, off, write, len(p))
	r.access(off, write, p)
}

// access hands over what lies within the region; the part of a wide access that reaches beyond it floats.
func (r *region) access(off uint64, write bool, p []byte) {
	if n := r.size - off; uint64(len(p)) > n {
		floating(write, p[n:])
		p = p[:n]
	}
	if write {
		r.device.Write(off, p)
	} else {
		r.device.Read(off, p)
	}
}

// floating is a bus on which nobody answers: reads are all ones, writes are lost.
func floating(write bool, p []byte) {
	if !write {
		for i := range p {
			p[i] = 0xff
		}
	}
}
