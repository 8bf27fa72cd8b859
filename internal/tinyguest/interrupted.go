package tinyguest

import (
	"encoding/binary"
	"errors"

	"doorbell/internal/kvm"
)

// Vector is what the guests of NewInterrupted take.
const Vector = 0x40

// Interrupted is a guest that does nothing but take interrupts of one vector: it counts each and ends it.
type Interrupted struct {
	X2APIC bool // its local APIC is in x2APIC mode: the EOI is a write to an MSR instead of one to memory
	Halts  bool // it halts between interrupts; otherwise it runs on the spot
}

// Guest-physical places of these guests. The APIC's page is where it is at reset.
const (
	apicPD   = 0x9000
	gdtAt    = 0xa000
	idtAt    = 0xb000
	tablesAt = 0xc000 // the operands of LGDT and LIDT
	apicBase = 0xfee0_0000
)

// NewInterrupted makes such a guest, which has not run yet.
func NewInterrupted(sys *kvm.System, i Interrupted) (*Guest, error) {
	g, err := New(sys, i.code(), nobody{})
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

// code is the guest's program: it enables its local APIC (Intel SDM volume 3, 11.4.3 and 11.12.1), then interrupts. handlerOffset is in it.
func (i Interrupted) code() []byte {
	var c []byte
	add := func(b ...byte) { c = append(c, b...) }
	add(0x0f, 0x01, 0x14, 0x25) // lgdt [tablesAt]
	c = binary.LittleEndian.AppendUint32(c, tablesAt)
	add(0x0f, 0x01, 0x1c, 0x25) // lidt [tablesAt+16]
	c = binary.LittleEndian.AppendUint32(c, tablesAt+16)
	add(0xbb) // mov ebx, apicBase
	c = binary.LittleEndian.AppendUint32(c, apicBase)
	if i.X2APIC {
		add(0xb9, 0x1b, 0, 0, 0) // mov ecx, IA32_APIC_BASE
		add(0x0f, 0x32)          // rdmsr
		add(0x0d, 0, 0x0c, 0, 0) // or eax, EN|EXTD
		add(0x0f, 0x30)          // wrmsr
		add(0xb9, 0x0f, 8, 0, 0) // mov ecx, IA32_X2APIC_SIVR
		add(0xb8, 0xff, 1, 0, 0) // mov eax, enabled, vector 0xff
		add(0x31, 0xd2)          // xor edx, edx
		add(0x0f, 0x30)          // wrmsr
	} else {
		add(0xc7, 0x83, 0xf0, 0, 0, 0, 0xff, 1, 0, 0) // mov dword [rbx+0xf0], enabled, vector 0xff
	}
	add(0xfb) // sti
	if i.Halts {
		add(0xf4, 0xeb, 0xfd) // hlt; jmp to it
	} else {
		add(0xeb, 0xfe) // jmp self
	}
	for len(c) < handlerOffset {
		add(0x90)
	}
	if i.X2APIC {
		add(0xb9, 0x0b, 8, 0, 0)    // mov ecx, IA32_X2APIC_EOI
		add(0x31, 0xc0, 0x31, 0xd2) // xor eax, eax; xor edx, edx
		add(0x0f, 0x30)             // wrmsr
	} else {
		add(0xc7, 0x83, 0xb0, 0, 0, 0, 0, 0, 0, 0) // mov dword [rbx+0xb0], 0
	}
	add(0x48, 0xff, 0x04, 0x25) // inc qword [Data]: after the EOI, so that who sees the count may send the next one
	c = binary.LittleEndian.AppendUint32(c, Data)
	add(0x48, 0xcf) // iretq
	return c
}

// handlerOffset is where in the code the handler is.
const handlerOffset = 0x100

// fillInterrupted writes the tables that an interrupt needs, and maps the APIC's page, uncached.
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
		g.Memory.WriteAt(word(word(word(word(nil, 0), 0), code64), data), gdtAt),
		g.Memory.WriteAt(gate, idtAt+16*Vector),
		g.Memory.WriteAt(tables, tablesAt),
	)
}

// Count is how many interrupts the guest has taken. It may be called while the guest runs.
func (g *Guest) Count() uint64 {
	b, err := g.Memory.Bytes(Data, 8)
	if err != nil {
		return 0 // the page is the guest's own: it is there
	}
	return binary.LittleEndian.Uint64(b)
}
