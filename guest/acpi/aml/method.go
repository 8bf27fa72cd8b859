package aml

import "encoding/binary"

// Opcodes of methods and of what is in them (sections 20.2.5.2 to 20.2.5.4).
const (
	methodOp   = 0x14
	storeOp    = 0x70
	andOp      = 0x7b
	notifyOp   = 0x86
	ifOp       = 0xa0
	opRegionOp = 0x80 // after extPrefix
	fieldOp    = 0x81 // after extPrefix
	noTarget   = 0x00
)

// Method declares a control method that one caller at a time runs: Method (path, arguments, Serialized) { terms }.
func Method(path string, arguments int, terms ...[]byte) []byte {
	const serialized = 1 << 3
	flags := byte(arguments) | serialized
	return append([]byte{methodOp}, pkg(join(append(nameString(path), flags), terms))...)
}

// PortField declares a field of 32 bits, which is accessed whole, at a range of I/O ports of its own: OperationRegion (region, SystemIO, port, 4) and
// Field (region, DWordAcc, NoLock, Preserve) { field, 32 }.
func PortField(region, field string, port uint16) []byte {
	const (
		systemIO = 1
		dword    = 3
		bits     = 32
	)
	r := join([]byte{extPrefix, opRegionOp}, [][]byte{nameString(region), {systemIO}, Int(uint64(port)), Int(bits / 8)})
	f := join(nameString(region), [][]byte{{dword}, nameSeg(field), {bits}})
	return append(r, append([]byte{extPrefix, fieldOp}, pkg(f)...)...)
}

// Bit is the value of And (path, 1 << n).
func Bit(path string, n int) []byte {
	return join([]byte{andOp}, [][]byte{nameString(path), dwordBit(n), {noTarget}})
}

// SetBit stores 1 << n in a named object: Store (1 << n, path).
func SetBit(path string, n int) []byte {
	return join([]byte{storeOp}, [][]byte{dwordBit(n), nameString(path)})
}

func dwordBit(n int) []byte {
	const dwordPrefix = 0x0c
	return binary.LittleEndian.AppendUint32([]byte{dwordPrefix}, 1<<n)
}

// If runs terms if the value of a term is not zero: If (predicate) { terms }.
func If(predicate []byte, terms ...[]byte) []byte {
	return append([]byte{ifOp}, pkg(join(predicate, terms))...)
}

// Notify tells the system of an event at a device: Notify (path, event).
func Notify(path string, event uint64) []byte {
	return join([]byte{notifyOp}, [][]byte{nameString(path), Int(event)})
}
