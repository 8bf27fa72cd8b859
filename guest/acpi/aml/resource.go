package aml

import "encoding/binary"

// ResourceTemplate encodes the buffer that a _CRS object holds: descriptors
// made by the functions of this file and of address.go, closed by an end tag.
// The end tag's checksum is 0, which a reader takes as "not given" (section
// 6.4.2.9).
func ResourceTemplate(descriptors ...[]byte) []byte {
	return Buffer(append(join(nil, descriptors), 0x79, 0))
}

// IO describes a range of I/O ports with all 16 address bits decoded (section
// 6.4.2.5). The base may lie anywhere in [base, lastBase] at the given
// alignment.
func IO(base, lastBase uint16, align, length uint8) []byte {
	const decode16 = 1
	d := []byte{0x47, decode16}
	d = binary.LittleEndian.AppendUint16(d, base)
	d = binary.LittleEndian.AppendUint16(d, lastBase)
	return append(d, align, length)
}

// IRQNoFlags describes ISA interrupts, edge-triggered, active high and not
// shared (section 6.4.2.1). Bit n of mask is IRQ n.
func IRQNoFlags(mask uint16) []byte {
	return binary.LittleEndian.AppendUint16([]byte{0x22}, mask)
}

// Trigger, Polarity and Sharing are the flags of an interrupt descriptor.
type (
	Trigger  uint8
	Polarity uint8
	Sharing  uint8
)

// Values of byte 3 of an extended interrupt descriptor (section 6.4.3.6).
const (
	Level      Trigger  = 0
	Edge       Trigger  = 1 << 1
	ActiveHigh Polarity = 0
	ActiveLow  Polarity = 1 << 2
	Exclusive  Sharing  = 0
	Shared     Sharing  = 1 << 3
)

// Interrupt describes global system interrupts (GSIs) that a device consumes
// (section 6.4.3.6).
func Interrupt(t Trigger, p Polarity, s Sharing, gsi ...uint32) []byte {
	const consumer = 1
	d := []byte{0x89, 0, 0, consumer | byte(t) | byte(p) | byte(s), byte(len(gsi))}
	for _, g := range gsi {
		d = binary.LittleEndian.AppendUint32(d, g)
	}
	return large(d)
}

// Memory32Fixed describes read-write memory at a fixed 32-bit address (section
// 6.4.3.4).
func Memory32Fixed(base, length uint32) []byte {
	const readWrite = 1
	d := []byte{0x86, 0, 0, readWrite}
	d = binary.LittleEndian.AppendUint32(d, base)
	d = binary.LittleEndian.AppendUint32(d, length)
	return large(d)
}

// large fills in the length of a large descriptor: what follows its three
// bytes of header.
func large(d []byte) []byte {
	binary.LittleEndian.PutUint16(d[1:], uint16(len(d)-3))
	return d
}
