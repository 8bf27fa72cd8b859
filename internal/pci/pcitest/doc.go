// Package pcitest has stand-ins for what the machine gives to PCI functions, for tests: interrupt controllers and an address map
// that check the order in which they are used.
package pcitest

// TB is what the stand-ins need of a test.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}
