//go:build lab

package tests

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"doorbell/internal/netconf"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
)

// TestQueueCoalescing: what the guest sets for one queue, as ethtool --per-queue does, has an interrupt of that queue tell of many packets,
// and leaves the other queue alone. It takes a driver that knows VIRTIO_NET_F_VQ_NOTF_COAL, which trixie's does.
func TestQueueCoalescing(t *testing.T) {
	for patient, ring := range []string{"split", "packed"} {
		t.Run(fmt.Sprintf("%s/rx%d", ring, patient), func(t *testing.T) {
			guestTest(t, func(t testing.TB) { testQueueCoalescing(t, ring, patient) })
		})
	}
}

func testQueueCoalescing(t testing.TB, ring string, patient int) {
	l := userLink()
	if ring == "split" {
		l.net += ",off=ring_packed"
	}
	s := startSession(t, l, trafficWorkload, "-c", "2", "-k", "debian:trixie")
	const frames, wait, datagrams, background = 20, 400 * time.Millisecond, 200, 40
	// A driver without a number of frames to transmit would do without interrupts for that.
	s.configure(wire.Configure{PerQueue: map[string]netconf.Coalesce{
		strconv.Itoa(patient): {RxFrames: frames, RxUsecs: uint32(wait.Microseconds()), TxFrames: 1},
	}})
	before, start := s.snapshot(), time.Now()
	r := need[traffic.PacketResult](s)(s.PacketsDown(s.ctx, traffic.PacketOptions{
		Placement: traffic.Placement{Flows: 2, CPUs: []int{0, 1}}, PerFlow: datagrams, PerSecond: 200,
	}))
	after, took := s.snapshot(), time.Since(start)
	if r.Lost() > 0 {
		t.Errorf("%d of %d datagrams lost", r.Lost(), r.Sent)
	}
	counted := after.Since(&before)
	for i := range 2 {
		t.Logf("rx%d: %d interrupts while %d datagrams came", i, queueOf(&counted, fmt.Sprintf("rx%d", i)).interrupts, datagrams)
	}
	// Each interrupt tells of so many packets, or so much time has passed.
	most := uint64((datagrams+background)/frames + took/wait + 1)
	if n := queueOf(&counted, fmt.Sprintf("rx%d", patient)).interrupts; n > most {
		t.Errorf("rx%d: %d interrupts in %v; %d would do", patient, n, took, most)
	}
	_, d := s.end()
	n := d.VM.Net
	if n.NeedsReset || len(n.Events) > 0 || !slices.Contains(n.Features, "VQ_NOTF_COAL") || n.Ring == nil || *n.Ring != ring {
		t.Errorf("the account of the card: %+v", n)
	}
	for i, q := range n.Queues[:4] {
		if i%2 == 0 && q.Packets < datagrams {
			t.Errorf("%s had %d packets; the flow of its CPU alone has %d", q.Queue, q.Packets, datagrams)
		}
		// A receive queue that does not wait tells of every batch at once, if the driver wants to hear of it.
		if waits := i == 2*patient; i%2 == 0 && (waits != (q.Coalesced > 0) || !waits && q.Interrupts+q.Suppressed != q.Batches) {
			t.Errorf("%s of %+v", q.Queue, q)
		}
	}
}
