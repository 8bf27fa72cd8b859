package pci_test

import (
	"testing"

	"doorbell/internal/pci"
)

func TestMessage(t *testing.T) {
	for _, c := range []struct {
		m    pci.Message
		want string
	}{
		{pci.Message{Address: 0xfee00000, Data: 0x4031}, "vector 0x31 to physical 0, fixed, edge"},
		{pci.Message{Address: 0xfee0300c, Data: 0x0124}, "vector 0x24 to logical 3, lowest-priority, edge"},
		{pci.Message{Address: 0x100_feeff000, Data: 0xc4ff}, "vector 0xff to physical 511, NMI, level"},
		{pci.Message{Address: 0xfee01000, Data: 0x0340}, "vector 0x40 to physical 1, reserved-3, edge"},
	} {
		i, ok := c.m.Interrupt()
		if !ok || i.String() != c.want {
			t.Errorf("%+v: %v, %v; want %q", c.m, i, ok, c.want)
		}
	}
	for _, a := range []uint64{0, 0xfed00000, 0xfffffffc, 0x1_fee00000, ^uint64(3)} {
		if i, ok := (pci.Message{Address: a}).Interrupt(); ok {
			t.Errorf("address %#x is an interrupt: %v", a, i)
		}
	}
	for m, want := range map[pci.DeliveryMode]string{pci.SMI: "SMI", pci.INIT: "INIT", pci.ExtINT: "ExtINT"} {
		check(t, "mode", m.String(), want)
	}
}
