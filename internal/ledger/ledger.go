package ledger

import (
	"fmt"
	"math/bits"
	"sort"

	"doorbell/internal/kvm"
)

// Ledger is the counts of one machine. A nil one takes exits, kicks and accesses and counts nothing: the laboratory measures with it what counting costs. It has no
// lines, and nothing can be read from it.
type Ledger struct {
	vcpus   []VCPU
	devices []device
	lines   []*Line
	slots   int // counters that each vCPU has for its accesses to devices
}

// VCPU is the counts of one vCPU; its own thread is the only writer. Like the ledger it may be nil.
type VCPU struct {
	exits    [kvm.NumExits + 1]Counter // by KVM exit reason; the last one for reasons that this build does not know
	kicks    Counter                   // KVM_RUN ended by a signal or immediate_exit: not an exit
	windows  Counter                   // entries that asked KVM for an interrupt window
	injected Counter                   // vectors given to KVM by KVM_INTERRUPT
	nmis     Counter                   // NMIs queued for it
	nmisLost Counter                   // pulses of LINT1 that its local APIC did not take for one
	accesses []Counter                 // by device, register, direction and width
	strays   strays                    // by address, where no device answers
	_        [64]byte                  // keeps what others count off this thread's cache lines
	asked    Shared                    // kicks that somebody asked for
	signals  Shared                    // of these, signals sent because the thread was in the guest
	wakeups  Shared                    // of these, the thread woken because it slept
	_        [64]byte                  // keeps two vCPUs' counters off one cache line
}

// New makes the ledger of a machine with n vCPUs.
func New(n int) *Ledger { return &Ledger{vcpus: make([]VCPU, n)} }

// VCPU is the page of the vCPU with this number.
func (l *Ledger) VCPU(n int) *VCPU {
	if l == nil {
		return nil
	}
	return &l.vcpus[n]
}

// NumVCPUs is the number of pages.
func (l *Ledger) NumVCPUs() int { return len(l.vcpus) }

// Exit counts a return of KVM_RUN with an exit for userspace.
func (v *VCPU) Exit(reason uint32) {
	if v != nil {
		v.exits[min(reason, kvm.NumExits)].Add(1)
	}
}

// Kick counts a KVM_RUN that a signal ended.
func (v *VCPU) Kick() {
	if v != nil {
		v.kicks.Add(1)
	}
}

// Kicks is how often a signal ended KVM_RUN.
func (v *VCPU) Kicks() uint64 { return v.kicks.Load() }

// Window counts an entry that asked KVM to return when the guest can take an interrupt.
func (v *VCPU) Window() {
	if v != nil {
		v.windows.Add(1)
	}
}

// Windows is how often that was asked.
func (v *VCPU) Windows() uint64 { return v.windows.Load() }

// Injected counts a vector given to KVM by KVM_INTERRUPT.
func (v *VCPU) Injected() {
	if v != nil {
		v.injected.Add(1)
	}
}

// Injections is how many vectors were given to KVM by KVM_INTERRUPT.
func (v *VCPU) Injections() uint64 { return v.injected.Load() }

// KickAsked, KickSignalled and KickWoken count, on any thread, that somebody wants the vCPU's thread out of the guest or out of its sleep, and
// what that needed. A thread that is neither in the guest nor asleep needs nothing.
func (v *VCPU) KickAsked() {
	if v != nil {
		v.asked.Add(1)
	}
}

// KickSignalled counts a signal.
func (v *VCPU) KickSignalled() {
	if v != nil {
		v.signals.Add(1)
	}
}

// KickWoken counts a wake-up.
func (v *VCPU) KickWoken() {
	if v != nil {
		v.wakeups.Add(1)
	}
}

// KicksAsked is how many kicks were asked for; signals and wakeups are those that were sent.
func (v *VCPU) KicksAsked() (asked, signals, wakeups uint64) {
	return v.asked.Load(), v.signals.Load(), v.wakeups.Load()
}

// NMI counts a pulse of LINT1, and whether it became an NMI.
func (v *VCPU) NMI(queued bool) {
	switch {
	case v == nil:
	case queued:
		v.nmis.Add(1)
	default:
		v.nmisLost.Add(1)
	}
}

// NMIs are the pulses of LINT1 that became NMIs, and those that did not.
func (v *VCPU) NMIs() (queued, masked uint64) { return v.nmis.Load(), v.nmisLost.Load() }

// UserspaceExits is the number of exits that reached userspace.
func (v *VCPU) UserspaceExits() (n uint64) {
	for i := range v.exits {
		n += v.exits[i].Load()
	}
	return n
}

// ExitsByReason are the exits that reached userspace, by KVM's name of the reason; reasons that did not occur are absent.
func (v *VCPU) ExitsByReason() map[string]uint64 {
	m := map[string]uint64{}
	for i := range v.exits {
		if n := v.exits[i].Load(); n > 0 {
			name := "unlisted"
			if uint32(i) < kvm.NumExits {
				name = kvm.ExitName(uint32(i))
			}
			m[name] += n
		}
	}
	return m
}

// Space tells ports from memory.
type Space uint8

// The address spaces of an x86 machine that devices' registers are in.
const (
	Port Space = iota
	Memory
	MSR // of accesses that exit to userspace
)

func (s Space) String() string { return [...]string{"port", "mmio", "msr"}[s] }

// device is what AddDevice was told.
type device struct {
	name     string
	space    Space
	first    int    // index of its first counter
	granule  uint64 // bytes per register
	n        int    // registers
	register func(off uint64, write bool) string
}

// widths is the number of access widths: 1, 2, 4 and 8 bytes.
const widths = 4

// DeviceID is a device's place in the ledger.
type DeviceID int32

// AddDevice gives a device of size bytes its counters: one for each register of granule bytes, direction and width.
// register names the register at an offset, for reports. All devices are added before the first vCPU runs.
func (l *Ledger) AddDevice(name string, space Space, size, granule uint64, register func(off uint64, write bool) string) DeviceID {
	if l == nil {
		return 0
	}
	granule = max(granule, 1)
	n := int((size + granule - 1) / granule)
	l.devices = append(l.devices, device{name: name, space: space, first: l.slots, granule: granule, n: n, register: register})
	l.slots += n * 2 * widths
	for i := range l.vcpus {
		l.vcpus[i].accesses = append(l.vcpus[i].accesses, make([]Counter, l.slots-len(l.vcpus[i].accesses))...)
	}
	return DeviceID(len(l.devices) - 1)
}

// slot is the index, within a device's counters, of a register, direction and width.
func slot(register uint64, write bool, width int) int {
	i := int(register) * 2
	if write {
		i++
	}
	return i*widths + widthIndex(width)
}

// widthIndex is log2 of 1, 2, 4 or 8; an odd width (KVM splits none smaller than it gets) counts as the next smaller one.
func widthIndex(width int) int {
	return min(max(bits.Len(uint(width)), 1), widths) - 1
}

// Access counts an exit to a device's register at offset off.
func (l *Ledger) Access(vcpu int, id DeviceID, off uint64, write bool, width int) {
	if l == nil {
		return
	}
	d := &l.devices[id]
	r := min(off/d.granule, uint64(d.n-1))
	l.vcpus[vcpu].accesses[d.first+slot(r, write, width)].Add(1)
}

// Stray counts an exit to an address where no device answers.
func (l *Ledger) Stray(vcpu int, space Space, addr uint64, write bool, width int) {
	if l != nil {
		l.vcpus[vcpu].strays.add(space, addr, write, width)
	}
}

// AccessRow is the number of exits to one register, in one direction and width, over all vCPUs.
type AccessRow struct {
	Device    string `json:"device"`
	Register  string `json:"register"`
	Direction string `json:"direction"` // "read" or "write"
	Width     int    `json:"width"`     // bytes
	Count     uint64 `json:"count"`
}

// Unclaimed is the device name of rows for addresses where no device answers.
const Unclaimed = "unclaimed"

// Accesses are the exits to devices and to nothing, most frequent first. Their counts sum to the port and MMIO exits.
func (l *Ledger) Accesses() []AccessRow {
	total := map[AccessRow]uint64{}
	for _, d := range l.devices {
		for r := range d.n {
			for _, write := range []bool{false, true} {
				for w := range widths {
					at := d.first + slot(uint64(r), write, 1<<w)
					n := uint64(0)
					for i := range l.vcpus {
						n += l.vcpus[i].accesses[at].Load()
					}
					if n > 0 {
						total[AccessRow{Device: d.name, Register: d.register(uint64(r)*d.granule, write), Direction: direction(write), Width: 1 << w}] += n
					}
				}
			}
		}
	}
	for i := range l.vcpus {
		l.vcpus[i].strays.rows(total)
	}
	rows := make([]AccessRow, 0, len(total))
	for row, n := range total {
		if n > 0 {
			row.Count = n
			rows = append(rows, row)
		}
	}
	sort.Slice(rows, func(i, j int) bool {
		a, b := rows[i], rows[j]
		if a.Count != b.Count {
			return a.Count > b.Count
		}
		return fmt.Sprint(a.Device, a.Register, a.Direction, a.Width) < fmt.Sprint(b.Device, b.Register, b.Direction, b.Width)
	})
	return rows
}

func direction(write bool) string {
	if write {
		return "write"
	}
	return "read"
}
