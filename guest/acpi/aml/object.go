package aml

// Named object opcodes (sections 20.2.5.1 and 20.2.5.2).
const (
	nameOp    = 0x08
	scopeOp   = 0x10
	extPrefix = 0x5b
	deviceOp  = 0x82
)

// Name gives a data object a name: Name (path, object).
func Name(path string, object []byte) []byte {
	return join([]byte{nameOp}, [][]byte{nameString(path), object})
}

// Scope opens an existing scope: Scope (path) { terms }.
func Scope(path string, terms ...[]byte) []byte {
	return append([]byte{scopeOp}, pkg(join(nameString(path), terms))...)
}

// Device declares a device: Device (path) { terms }.
func Device(path string, terms ...[]byte) []byte {
	return append([]byte{extPrefix, deviceOp}, pkg(join(nameString(path), terms))...)
}
