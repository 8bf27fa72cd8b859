package vmm

import (
	"errors"
	"fmt"
	"testing"

	"doorbell/internal/pci"
)

// TestEventLogIsBounded: a guest can cause as many different events as it likes.
func TestEventLogIsBounded(t *testing.T) {
	var l eventLog
	for i := range 1000 {
		l.add(fmt.Errorf("queue 0: position %d", i))
		l.add(errors.New("again"))
	}
	rows := l.list()
	var sum uint64
	for _, r := range rows {
		sum += r.Count
	}
	if len(rows) != maxEvents+1 || sum != 2000 || rows[1] != (EventRow{"again", 1000}) {
		t.Errorf("%d rows, %d events: %v", len(rows), sum, rows)
	}
}

// TestVectorRow: what the guest wrote to the table is decoded to the vCPU and the vector that it means, where it means one.
func TestVectorRow(t *testing.T) {
	for _, c := range []struct {
		name          string
		message       pci.Message
		vcpu, vector  int // -1: none
		wantDelivered bool
	}{
		{"physical", pci.Message{Address: 0xfee03000, Data: 0x0041}, 3, 0x41, true},
		{"logical, one processor", pci.Message{Address: 0xfee04004, Data: 0x0032}, 2, 0x32, true},
		{"logical, two processors", pci.Message{Address: 0xfee06004, Data: 0x0032}, -1, -1, true},
		{"no such vCPU", pci.Message{Address: 0xfee09000, Data: 0x0041}, -1, -1, true},
		{"not an APIC's address", pci.Message{Address: 0x1000, Data: 0x0041}, -1, -1, false},
	} {
		r := vectorRow(pci.VectorStats{Vector: 1, Message: c.message, Routings: 1}, "rx0", 4)
		vcpu, vector := -1, -1
		if r.VCPU != nil {
			vcpu, vector = *r.VCPU, int(*r.IDTVector)
		}
		if vcpu != c.vcpu || vector != c.vector || (r.Message != "") != c.wantDelivered {
			t.Errorf("%s: vCPU %d vector %#x, %q", c.name, vcpu, vector, r.Message)
		}
	}
}
