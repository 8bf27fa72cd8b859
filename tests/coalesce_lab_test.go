//go:build lab

package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"doorbell/internal/netconf"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
)

// TestCoalescing: what the guest sets, as ethtool -C does, decides how many packets an interrupt tells of: each packet has its own without
// coalescing; frames do when they are few and the time is long; time does when it is short and the frames are many.
func TestCoalescing(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		s := startSession(t, tapLink(t), trafficWorkload, "-c", "2")
		// Without a number of frames to transmit Linux 6.1 takes the card for one without interrupts for that.
		off := netconf.Coalesce{TxFrames: 1}
		for _, c := range []struct {
			name     string
			up       bool
			coalesce netconf.Coalesce
			usecs    uint32
			check    func(packets, interrupts, atMost float64) bool // atMost is how often the time has passed
		}{
			{"rx, none", false, off, 0, eachItsOwn},
			{"rx, 16 frames", false, netconf.Coalesce{RxFrames: 16, RxUsecs: 500_000, TxFrames: 1}, 0, atLeastEight},
			{"rx, 60 ms", false, netconf.Coalesce{RxFrames: 10_000, RxUsecs: 60_000, TxFrames: 1}, 60_000, byTime},
			{"rx, 60 ms, however many", false, netconf.Coalesce{RxUsecs: 60_000, TxFrames: 1}, 60_000, byTime},
			{"rx, none again", false, off, 0, eachItsOwn},
			{"tx, none", true, off, 0, eachItsOwn},
			{"tx, 16 frames", true, netconf.Coalesce{TxFrames: 16, TxUsecs: 500_000}, 0, atLeastEight},
			{"tx, 60 ms", true, netconf.Coalesce{TxFrames: 10_000, TxUsecs: 60_000}, 60_000, byTime},
		} {
			if now := s.configure(wire.Configure{Coalesce: &c.coalesce}); now.Coalesce == nil || *now.Coalesce != c.coalesce {
				t.Fatalf("%s: the driver has %+v", c.name, now.Coalesce)
			}
			start := time.Now()
			q := s.stream(c.up)
			atMost := float64(time.Since(start).Microseconds()) / float64(max(c.usecs, 1))
			t.Logf("%s: %d packets, %d interrupts: %.1f packets for each", c.name, q.packets, q.interrupts, float64(q.packets)/float64(q.interrupts))
			if !c.check(float64(q.packets), float64(q.interrupts), atMost) {
				t.Errorf("%s: %d packets had %d interrupts; the time for one passed %.1f times", c.name, q.packets, q.interrupts, atMost)
			}
		}
		last := s.snapshot()
		_, d := s.end()
		for _, q := range d.VM.Net.Queues {
			if q.Queue == "ctrl" {
				continue
			}
			// Interrupts that find one pending in the guest's processor are one there.
			if seen := queueOf(&last, q.Queue).interrupts; seen > q.Interrupts || q.Interrupts > q.Batches {
				t.Errorf("%s: %d batches, %d interrupts, of which the guest has seen %d", q.Queue, q.Batches, q.Interrupts, seen)
			}
			// Each batch had its interrupt, or it was put off, or the driver wanted none. A busy host makes few batches of many packets.
			if q.Interrupts+q.Coalesced+q.Suppressed < q.Batches || strings.HasSuffix(q.Queue, "1") && q.Coalesced < 40 {
				t.Errorf("%s: %d batches, %d interrupts, %d put off, %d suppressed", q.Queue, q.Batches, q.Interrupts, q.Coalesced, q.Suppressed)
			}
		}
		logCard(t, d)
	})
}

// eachItsOwn allows for packets that come while others are looked at, which on a busy host are many; the other settings ask for twice as many.
func eachItsOwn(packets, interrupts, _ float64) bool { return interrupts*4 >= packets }

// atLeastEight allows for some waits that were too long.
func atLeastEight(packets, interrupts, _ float64) bool {
	return interrupts > 0 && packets/interrupts >= 8
}

// byTime has one interrupt for each time that passed at most, besides those at the stream's ends.
func byTime(packets, interrupts, atMost float64) bool {
	return interrupts >= 3 && interrupts <= atMost+3 && packets/interrupts >= 4
}

// stream sends datagrams over the queues of the second vCPU, at a steady pace, and returns what that queue counted.
func (s *session) stream(up bool) queue {
	s.Helper()
	o := traffic.PacketOptions{Placement: traffic.Placement{CPUs: []int{1}}, PerFlow: 192, PerSecond: 200}
	name, send := "rx1", s.PacketsDown
	if up {
		name, send = "tx1", s.PacketsUp
	}
	before := s.snapshot()
	r := need[traffic.PacketResult](s)(send(s.ctx, o))
	var q queue
	// Linux counts a transmitted packet when it is told of it, which coalescing delays.
	for deadline := time.Now().Add(5 * time.Second); q.packets < o.PerFlow && time.Now().Before(deadline); {
		after := s.snapshot()
		counted := after.Since(&before)
		q = queueOf(&counted, name)
	}
	if r.Lost() > 0 || q.packets < o.PerFlow || q.packets > o.PerFlow+background {
		s.fatal(fmt.Errorf("%d of %d datagrams lost; %s counted %d packets", r.Lost(), r.Sent, name, q.packets))
	}
	return q
}
