package tinyguest

import "encoding/binary"

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

// inc counts in 64 bits of memory.
func (a *assembler) inc(at uint32) { a.at(at, 0x48, 0xff, 0x04) } // inc qword [at]

// enable loads the tables, and enables the local APIC (Intel SDM volume 3, 11.4.3 and 11.12.1). rbx has its address from here on.
func (a *assembler) enable(x2apic bool) {
	const (
		apicBaseMSR, x2apicSVR = 0x1b, 0x80f
		svr, enabled           = 0xf0, 0x1ff // spurious vector 0xff
	)
	a.at(tablesAt, 0x0f, 0x01, 0x14)    // lgdt [tablesAt]
	a.at(tablesAt+16, 0x0f, 0x01, 0x1c) // lidt [tablesAt+16]
	a.put(0xbb)                         // mov ebx, apicBase
	a.imm(apicBase)
	if !x2apic {
		a.put(0xc7, 0x83) // mov dword [rbx+svr], enabled
		a.imm(svr)
		a.imm(enabled)
		return
	}
	a.put(0xb9) // mov ecx, IA32_APIC_BASE
	a.imm(apicBaseMSR)
	a.put(0x0f, 0x32, 0x0d, 0, 0x0c, 0, 0, 0x0f, 0x30) // rdmsr; or eax, EN|EXTD; wrmsr
	a.wrmsr(x2apicSVR, enabled)
}

// eoi ends an interrupt.
func (a *assembler) eoi(x2apic bool) {
	const x2apicEOI, eoi = 0x80b, 0xb0
	if x2apic {
		a.wrmsr(x2apicEOI, 0)
		return
	}
	a.put(0xc7, 0x83) // mov dword [rbx+eoi], 0
	a.imm(eoi)
	a.imm(0)
}

// route programs a pin's redirection table entry (82093AA, section 3.2.4): fixed, physical, Vector to APIC id 0, not masked.
func (a *assembler) route(pin int, level bool) {
	const redirection, levelTriggered = 0x10, 1 << 15
	entry := uint32(Vector)
	if level {
		entry |= levelTriggered
	}
	a.put(0xb9) // mov ecx, ioapicBase
	a.imm(ioapicBase)
	for n, v := range []uint32{entry, 0} {
		a.put(0xc7, 0x01) // mov dword [rcx], the register's number
		a.imm(uint32(redirection + 2*pin + n))
		a.put(0xc7, 0x41, 0x10) // mov dword [rcx+0x10], its value
		a.imm(v)
	}
}
