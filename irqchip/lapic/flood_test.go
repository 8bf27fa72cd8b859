package lapic

import "testing"

// TestSelfIPIFlood: a guest that sends itself ten million IPIs and ends only some of them gets what the registers hold, and costs nothing that
// lasts: no allocation, no message to anybody, and an account that adds up to the last one.
func TestSelfIPIFlood(t *testing.T) {
	n := 10_000_000
	if testing.Short() {
		n = 1_000_000
	}
	b := running(t)
	b.x2()
	var taken uint64
	allocated := testing.AllocsPerRun(1, func() {
		for i := range n / 2 { // AllocsPerRun calls twice
			vector := 0x20 + uint64(i)*7%0xe0
			if err := b.WriteMSR(0x83f, vector); err != nil {
				t.Fatal(err)
			}
			if i%3 == 0 {
				if _, ok := b.Accept(); ok {
					taken++
				}
			}
			if i%5 == 0 {
				b.EOI()
			}
		}
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
	var raised, coalesced, delivered, waiting uint64
	s := b.Stats()
	for _, v := range s.Vectors {
		raised, coalesced, delivered = raised+v.Raised, coalesced+v.Coalesced, delivered+v.Delivered
		rest := v.Raised - v.Coalesced - v.Delivered - v.Dropped
		if rest > 1 || v.Ended > v.Delivered {
			t.Errorf("%+v", v)
		}
		waiting += rest
	}
	if raised != uint64(n/2*2) || delivered != taken || len(*b.out) != 0 {
		t.Errorf("%d raised of %d, %d coalesced, %d delivered of %d, %d wait, %d messages", raised, n, coalesced, delivered, taken, waiting, len(*b.out))
	}
}
