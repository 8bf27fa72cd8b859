package tinyguest

import (
	"encoding/binary"
	"errors"

	"doorbell/internal/kvm"
	"doorbell/vcpu"
)

// Vector is what the guests of NewInterrupted take.
const Vector = 0x40

// Interrupted is a guest that does nothing but take interrupts of one vector: it counts each, ends it, and counts it as ended.
type Interrupted struct {
	X2APIC bool // its local APIC is in x2APIC mode: the EOI is a write to an MSR instead of one to memory
	Halts  bool // it halts between interrupts; otherwise it runs on the spot
	// PVEOI has it look first whether KVM wants to know of the interrupt's end at all (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN).
	PVEOI bool
	// Pin is the pin of KVM's IOAPIC that it routes to the vector; 0 is none.
	Pin int
	// Level has the pin level-triggered.
	Level bool
	// Waits has the handler wait until the machine's Quiet says that the line is low again, before it ends the interrupt.
	Waits bool
	// Quiet is when the handler quiets its device, by a write to QuietPort.
	Quiet Quiet
	// Chip names the interrupt controllers, as package irqchip does; empty is KVM's without its PIT.
	Chip string
	// Bus answers the guest's exits; nil: nobody.
	Bus vcpu.Bus
	// Controller, if it is there, is given the vCPU's part of Chip and returns what the vCPU has instead, which leads to it.
	Controller func(vcpu.Controller) vcpu.Controller
}

// Quiet is what an interrupt handler does about its device.
type Quiet int

// The ways of a handler.
const (
	QuietNever     Quiet = iota // it leaves the device alone
	QuietBeforeEOI              // it quiets the device, then ends the interrupt: the right order
	QuietAfterEOI               // it ends the interrupt first, while a level line is still high
)

// QuietPort is the port that a handler writes to quiet its device.
const QuietPort = 0xf6

// Guest-physical places of these guests. The APIC's page is where it is at reset.
const (
	apicPD   = 0x9000
	gdtAt    = 0xa000
	idtAt    = 0xb000
	tablesAt = 0xc000 // the operands of LGDT and LIDT
	apicBase = 0xfee0_0000

	ioapicBase = 0xfec0_0000

	// In the page Data: interrupts that were begun, that were ended, and whose line is low again; and the word that KVM and the guest share for PV EOI.
	begunAt, endedAt, quietAt, pvEOIAt = Data, Data + 8, Data + 16, Data + 24
)

// NewInterrupted makes such a guest, which has not run yet.
func NewInterrupted(sys *kvm.System, i Interrupted) (*Guest, error) {
	bus := i.Bus
	if bus == nil {
		bus = nobody{}
	}
	g, err := buildWith(sys, i.code(), bus, i.Chip, i.Controller)
	if err != nil {
		return nil, err
	}
	if err := g.fillInterrupted(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// nobody is a bus without devices.
type nobody struct{}

func (nobody) Port(int, uint16, int, bool, []byte) {}
func (nobody) Memory(int, uint64, bool, []byte)    {}

// code is the guest's program: it enables its local APIC (Intel SDM volume 3, 11.4.3 and 11.12.1), then interrupts.
func (i Interrupted) code() []byte {
	const pvEOIMSR = 0x4b564d04
	var a assembler
	a.enable(i.X2APIC)
	if i.PVEOI {
		a.wrmsr(pvEOIMSR, pvEOIAt|1)
	}
	if i.Pin > 0 {
		a.route(i.Pin, i.Level)
	}
	a.put(0xfb) // sti
	if i.Halts {
		a.put(0xf4, 0xeb, 0xfd) // hlt; jmp to it
	} else {
		a.put(0xeb, 0xfe) // jmp self
	}
	for len(a) < handlerOffset {
		a.put(0x90)
	}
	a.inc(begunAt)
	if i.Waits {
		a.at(begunAt, 0x48, 0x8b, 0x04) // mov rax, [begunAt]
		a.at(quietAt, 0x48, 0x39, 0x04) // cmp [quietAt], rax
		a.put(0x75, 0xf6)               // jne to the comparison
	}
	var end assembler
	end.eoi(i.X2APIC)
	quiet := []byte{0xe6, QuietPort} // out QuietPort, al
	if i.Quiet == QuietBeforeEOI {
		a.put(quiet...)
	}
	if i.PVEOI {
		a.at(pvEOIAt, 0x0f, 0xba, 0x34) // btr dword [pvEOIAt], ...
		a.put(0, 0x72, byte(len(end)))  // ... 0; jc past the EOI
	}
	a.put(end...)
	if i.Quiet == QuietAfterEOI {
		a.put(quiet...)
	}
	a.inc(endedAt)
	a.put(0x48, 0xcf) // iretq
	return a
}

// handlerOffset is where in the code the handler is.
const handlerOffset = 0x100

// fillInterrupted writes the tables that an interrupt needs, and maps the pages of the local APIC and the IOAPIC, uncached.
func (g *Guest) fillInterrupted() error {
	const (
		present, writable, large = 1 << 0, 1 << 1, 1 << 7
		uncached                 = 1<<3 | 1<<4
		gigabyte, large2M        = 1 << 30, 2 << 20
		code64, data             = 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff // descriptors 0x10 and 0x18, as guest.NewEntry has them
	)
	word := binary.LittleEndian.AppendUint64
	var tables []byte
	tables = word(binary.LittleEndian.AppendUint16(nil, 4*8-1), gdtAt)
	tables = append(tables, make([]byte, 16-len(tables))...)
	tables = word(binary.LittleEndian.AppendUint16(tables, 256*16-1), idtAt)
	return errors.Join(
		g.Memory.WriteAt(word(nil, apicPD|present|writable), pdpt+8*(apicBase/gigabyte)),
		g.Memory.WriteAt(word(nil, apicBase|present|writable|uncached|large), apicPD+8*(apicBase%gigabyte/large2M)),
		g.Memory.WriteAt(word(nil, ioapicBase|present|writable|uncached|large), apicPD+8*(ioapicBase%gigabyte/large2M)),
		g.Memory.WriteAt(word(word(word(word(nil, 0), 0), code64), data), gdtAt),
		g.gate(Vector, Code+handlerOffset),
		g.Memory.WriteAt(tables, tablesAt),
	)
}

// gate has a vector handled by code at an address: a present 64-bit interrupt gate of DPL 0 (Intel SDM volume 3, 6.14.1).
func (g *Guest) gate(vector uint64, handler uint32) error {
	const interruptGate, codeSelector = 0x8e, 0x10
	b := binary.LittleEndian.AppendUint16(nil, uint16(handler))
	b = binary.LittleEndian.AppendUint16(b, codeSelector)
	b = append(b, 0, interruptGate)
	b = binary.LittleEndian.AppendUint16(b, uint16(handler>>16))
	return g.Memory.WriteAt(binary.LittleEndian.AppendUint64(b, 0), idtAt+16*vector)
}

// Begun is how many interrupts the guest has begun to serve, and Ended how many of these it has ended. They may be called while the guest runs.
func (g *Guest) Begun() uint64 { return g.word(begunAt) }

// Ended is described at Begun.
func (g *Guest) Ended() uint64 { return g.word(endedAt) }

// Quiet tells the guest's handler that the line of interrupt n, as Begun counts them, is low again.
func (g *Guest) Quiet(n uint64) {
	_ = g.Memory.WriteAt(binary.LittleEndian.AppendUint64(nil, n), quietAt) // the page is the guest's own: it is there
}

func (g *Guest) word(at uint64) uint64 {
	b, err := g.Memory.Bytes(at, 8)
	if err != nil {
		return 0 // the page is the guest's own: it is there
	}
	return binary.LittleEndian.Uint64(b)
}
