package usernet

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"doorbell/virtio/backend"
)

// datagramHead is a datagram as far as steering looks at it.
func datagramHead(from, to [4]byte, source, destination uint16) []byte {
	f := make([]byte, backend.EthernetLen+28)
	ip := f[backend.EthernetLen:]
	ip[0], ip[9] = 0x45, 17
	copy(ip[12:], from[:])
	copy(ip[16:], to[:])
	binary.BigEndian.PutUint16(ip[20:], source)
	binary.BigEndian.PutUint16(ip[22:], destination)
	return f
}

// TestFlowsKeepTheirQueues: whatever ports a few flows have, each comes back on the queue on which it was sent, and so does one that moves.
func TestFlowsKeepTheirQueues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	guest, gateway := [4]byte{10, 0, 2, 15}, [4]byte{10, 0, 2, 2}
	for range 20_000 {
		var table flowTable
		port := func() uint16 { return uint16(32768 + random.IntN(28232)) }
		type flow struct{ source, destination uint16 }
		flows := map[flow]uint32{}
		for len(flows) < 3 {
			flows[flow{port(), port()}] = uint32(random.IntN(8))
		}
		for _, moved := range []uint32{0, 1} {
			for f, queue := range flows {
				table.remember(datagramHead(guest, gateway, f.source, f.destination), queue+moved)
			}
			for f, queue := range flows {
				if got := table.queue(datagramHead(gateway, guest, f.destination, f.source)); got != queue+moved {
					t.Fatalf("%+v of %v: queue %d, sent on %d", f, flows, got, queue+moved)
				}
			}
		}
	}
}

// TestFlowTableIsFull: a guest that has more flows than there is room for loses some, and gets no queue that no flow was on.
func TestFlowTableIsFull(t *testing.T) {
	var table flowTable
	guest, gateway := [4]byte{10, 0, 2, 15}, [4]byte{10, 0, 2, 2}
	for port := range 1 << 16 {
		table.remember(datagramHead(guest, gateway, uint16(port), 80), 3)
	}
	found := 0
	for port := range 1 << 16 {
		switch table.queue(datagramHead(gateway, guest, 80, uint16(port))) {
		case 3:
			found++
		case 0:
		default:
			t.Fatal("a queue that no flow was on")
		}
	}
	if found < flowSets || found > flowSets*flowWays+64 {
		t.Errorf("%d flows of %d entries", found, flowSets*flowWays)
	}
}
