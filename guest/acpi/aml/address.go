package aml

import "encoding/binary"

// Address space descriptors (section 6.4.3.5): the ranges that a bus bridge
// decodes and hands to the devices behind it. All are resource producers with
// fixed bounds and no translation.

const (
	spaceMemory = 0
	spaceIO     = 1
	spaceBus    = 2

	// minFixed and maxFixed are _MIF and _MAF.
	minFixed = 1 << 2
	maxFixed = 1 << 3

	// memoryReadWrite and memoryCacheable are the type-specific flags _RW and
	// _MEM; ioEntireRange is _RNG, both ISA and non-ISA ports.
	memoryReadWrite = 1
	memoryCacheable = 1 << 1
	ioEntireRange   = 3
)

// WordBusNumber describes bus numbers first to last.
func WordBusNumber(first, last uint16) []byte {
	return address16(spaceBus, 0, first, last)
}

// WordIO describes I/O ports first to last, at most 0xffff of them.
func WordIO(first, last uint16) []byte {
	return address16(spaceIO, ioEntireRange, first, last)
}

// DWordMemory describes cacheable read-write memory first to last below 4 GiB.
func DWordMemory(first, last uint32) []byte {
	d := []byte{0x87, 0, 0, spaceMemory, minFixed | maxFixed, memoryReadWrite | memoryCacheable}
	for _, v := range []uint32{0, first, last, 0, last - first + 1} {
		d = binary.LittleEndian.AppendUint32(d, v)
	}
	return large(d)
}

// QWordMemory describes cacheable read-write memory first to last anywhere.
func QWordMemory(first, last uint64) []byte {
	d := []byte{0x8a, 0, 0, spaceMemory, minFixed | maxFixed, memoryReadWrite | memoryCacheable}
	for _, v := range []uint64{0, first, last, 0, last - first + 1} {
		d = binary.LittleEndian.AppendUint64(d, v)
	}
	return large(d)
}

func address16(space, flags byte, first, last uint16) []byte {
	d := []byte{0x88, 0, 0, space, minFixed | maxFixed, flags}
	for _, v := range []uint16{0, first, last, 0, last - first + 1} {
		d = binary.LittleEndian.AppendUint16(d, v)
	}
	return large(d)
}
