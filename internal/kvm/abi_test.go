package kvm

import (
	"reflect"
	"testing"
)

// cLayout is a Go value of the type and what the C compiler says of the struct that it stands for.
type cLayout struct {
	value  any
	c      string
	size   uintptr
	fields []cField
}

type cField struct {
	name         string
	offset, size uintptr
}

// TestLayouts holds every struct that crosses the ioctl boundary against the C compiler's layout, the borrowed ones too.
func TestLayouts(t *testing.T) {
	if len(cLayouts) == 0 {
		t.Fatal("no layouts: run go generate")
	}
	for _, l := range cLayouts {
		typ := reflect.TypeOf(l.value)
		if typ.Size() != l.size {
			t.Errorf("%s is %d bytes, %s is %d", typ.Name(), typ.Size(), l.c, l.size)
		}
		for _, want := range l.fields {
			f, ok := typ.FieldByName(want.name)
			if !ok {
				t.Errorf("%s has no field %s", typ.Name(), want.name)
				continue
			}
			if f.Offset != want.offset || f.Type.Size() != want.size {
				t.Errorf("%s.%s is at %d, %d bytes; in %s it is at %d, %d bytes", typ.Name(), f.Name, f.Offset, f.Type.Size(), l.c, want.offset, want.size)
			}
		}
	}
}

// TestRouteSize: routes are serialised by hand, so their size is asserted here.
func TestRouteSize(t *testing.T) {
	if n := reflect.TypeFor[MSIRoute]().Size(); n != routeSize {
		t.Errorf("MSIRoute is %d bytes, routeSize is %d", n, routeSize)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{ExitName(ExitIo), "io"},
		{ExitName(ExitMmio), "mmio"},
		{ExitName(ExitIrqWindowOpen), "irq_window_open"},
		{ExitName(1 << 20), "exit_1048576"},
		{HardwareExitName(VendorSVM, 0x78), "hlt"},
		{HardwareExitName(VendorSVM, 0x400), "npf"},
		{HardwareExitName(VendorSVM, 0x72), "cpuid"},
		{HardwareExitName(VendorVMX, 48), "ept_violation"},
		{HardwareExitName(VendorVMX, 0x80000000|12), "hlt"},
		{HardwareExitName(VendorVMX, 9999), "vmx_exit_0x270f"},
	} {
		if c.got != c.want {
			t.Errorf("name %q, want %q", c.got, c.want)
		}
	}
}
