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
	g, err := build(sys, i.code(), bus, i.Chip)
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

// assembler collects machine code.
type assembler []byte

// put appends bytes; imm a 32-bit number.
func (a *assembler) put(b ...byte) { *a = append(*a, b...) }
func (a *assembler) imm(v uint32)  { *a = binary.LittleEndian.AppendUint32(*a, v) }
func (a *assembler) at(v uint32, b ...byte) { // an instruction whose only operand is memory at a 32-bit address
	a.put(append(b, 0x25)...)
	a.imm(v)
}

// wrmsr writes a number of 32 bits to an MSR.
func (a *assembler) wrmsr(msr, v uint32) {
	a.put(0xb9) // mov ecx, msr
	a.imm(msr)
	a.put(0xb8) // mov eax, v
	a.imm(v)
	a.put(0x31, 0xd2, 0x0f, 0x30) // xor edx, edx; wrmsr
}

// code is the guest's program: it enables its local APIC (Intel SDM volume 3, 11.4.3 and 11.12.1), then interrupts.
func (i Interrupted) code() []byte {
	const (
		apicBaseMSR, x2apicSVR, x2apicEOI, pvEOIMSR = 0x1b, 0x80f, 0x80b, 0x4b564d04
		svrEnabled                                  = 0x1ff // vector 0xff
		svr, eoi                                    = 0xf0, 0xb0
	)
	var a assembler
	a.at(tablesAt, 0x0f, 0x01, 0x14)    // lgdt [tablesAt]
	a.at(tablesAt+16, 0x0f, 0x01, 0x1c) // lidt [tablesAt+16]
	a.put(0xbb)                         // mov ebx, apicBase
	a.imm(apicBase)
	if i.X2APIC {
		a.put(0xb9) // mov ecx, IA32_APIC_BASE
		a.imm(apicBaseMSR)
		a.put(0x0f, 0x32, 0x0d, 0, 0x0c, 0, 0, 0x0f, 0x30) // rdmsr; or eax, EN|EXTD; wrmsr
		a.wrmsr(x2apicSVR, svrEnabled)
	} else {
		a.put(0xc7, 0x83) // mov dword [rbx+svr], svrEnabled
		a.imm(svr)
		a.imm(svrEnabled)
	}
	if i.PVEOI {
		a.wrmsr(pvEOIMSR, pvEOIAt|1)
	}
	if i.Pin > 0 {
		i.route(&a)
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
	a.at(begunAt, 0x48, 0xff, 0x04) // inc qword [begunAt]
	if i.Waits {
		a.at(begunAt, 0x48, 0x8b, 0x04) // mov rax, [begunAt]
		a.at(quietAt, 0x48, 0x39, 0x04) // cmp [quietAt], rax
		a.put(0x75, 0xf6)               // jne to the comparison
	}
	var end assembler
	if i.X2APIC {
		end.wrmsr(x2apicEOI, 0)
	} else {
		end.put(0xc7, 0x83) // mov dword [rbx+eoi], 0
		end.imm(eoi)
		end.imm(0)
	}
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
	a.at(endedAt, 0x48, 0xff, 0x04) // inc qword [endedAt]
	a.put(0x48, 0xcf)               // iretq
	return a
}

// route programs the pin's redirection table entry (82093AA, section 3.2.4): fixed, physical, to APIC id 0, not masked.
func (i Interrupted) route(a *assembler) {
	const redirection, levelTriggered = 0x10, 1 << 15
	entry := uint32(Vector)
	if i.Level {
		entry |= levelTriggered
	}
	a.put(0xb9) // mov ecx, ioapicBase
	a.imm(ioapicBase)
	for n, v := range []uint32{entry, 0} {
		a.put(0xc7, 0x01) // mov dword [rcx], the register's number
		a.imm(uint32(redirection + 2*i.Pin + n))
		a.put(0xc7, 0x41, 0x10) // mov dword [rcx+0x10], its value
		a.imm(v)
	}
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
		interruptGate            = 0x8e                                         // present, DPL 0, 64-bit interrupt gate (Intel SDM volume 3, 6.14.1)
		codeSelector             = 0x10
	)
	word := binary.LittleEndian.AppendUint64
	var gate []byte
	const handler = Code + handlerOffset
	gate = binary.LittleEndian.AppendUint16(gate, handler&0xffff)
	gate = binary.LittleEndian.AppendUint16(gate, codeSelector)
	gate = append(gate, 0, interruptGate)
	gate = binary.LittleEndian.AppendUint16(gate, handler>>16)
	gate = word(gate, 0)
	var tables []byte
	tables = word(binary.LittleEndian.AppendUint16(nil, 4*8-1), gdtAt)
	tables = append(tables, make([]byte, 16-len(tables))...)
	tables = word(binary.LittleEndian.AppendUint16(tables, 256*16-1), idtAt)
	return errors.Join(
		g.Memory.WriteAt(word(nil, apicPD|present|writable), pdpt+8*(apicBase/gigabyte)),
		g.Memory.WriteAt(word(nil, apicBase|present|writable|uncached|large), apicPD+8*(apicBase%gigabyte/large2M)),
		g.Memory.WriteAt(word(nil, ioapicBase|present|writable|uncached|large), apicPD+8*(ioapicBase%gigabyte/large2M)),
		g.Memory.WriteAt(word(word(word(word(nil, 0), 0), code64), data), gdtAt),
		g.Memory.WriteAt(gate, idtAt+16*Vector),
		g.Memory.WriteAt(tables, tablesAt),
	)
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
