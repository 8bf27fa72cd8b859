package netdev

import "testing"

// Offers that bring nothing stop for a while; one that brings something starts the count again.
func TestProcessorOffers(t *testing.T) {
	var o offers
	round := func(more bool) (made int) {
		for left := o.begin(); left > 0; {
			left--
			made++
			o.taken(more, left)
			if more {
				break
			}
		}
		return made
	}
	for i := range maxVain - 1 {
		if n := round(false); n != maxOffers {
			t.Errorf("vain round %d made %d offers", i, n)
		}
	}
	if n := round(true); n != 1 {
		t.Errorf("an offer that brings something is followed by %d", n-1)
	}
	for i := range maxVain {
		if n := round(false); n != maxOffers {
			t.Errorf("vain round %d made %d offers", i, n)
		}
	}
	for i := range skipped {
		if n := round(true); n != 0 {
			t.Errorf("round %d made %d offers", i, n)
		}
	}
	if n := round(true); n != 1 {
		t.Errorf("%d offers after the pause", n)
	}
}
