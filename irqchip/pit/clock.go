package pit

import (
	"math"
	"math/bits"
)

// Frequency is that of CLK, in Hz: a twelfth of a PC's 14.31818 MHz, as operating systems round it.
const Frequency = 1193182

// MinInterval is the shortest time, in nanoseconds, from one wake-up of the owner for counter 0 to the next if the guest has not written to
// the chip in between: 5000 interrupts a second. Kernels have up to 1000 periodic ones, which it does not delay; it bounds what a guest can
// take of the host's processor, by a count that it writes once, to one wake-up and one injection, some ten microseconds, in 200.
const MinInterval = 200_000

const second = 1_000_000_000 // ns

// pulses is the number of CLK pulses that have come by a time.
func pulses(ns uint64) uint64 {
	hi, lo := bits.Mul64(ns, Frequency)
	n, _ := bits.Div64(hi, lo, second)
	return n
}

// when is the earliest time, in nanoseconds, by which n CLK pulses have come; the end of time if that is later.
func when(n uint64) uint64 {
	hi, lo := bits.Mul64(n, second)
	lo, carry := bits.Add64(lo, Frequency-1, 0)
	hi += carry
	if hi >= Frequency {
		return math.MaxUint64
	}
	ns, _ := bits.Div64(hi, lo, Frequency)
	return ns
}
