package lab

import "time"

// rdtsc reads this machine's time stamp counter.
func rdtsc() uint64

// A tscSample is one moment, by the time stamp counter and by the clock.
type tscSample struct {
	count uint64
	at    time.Time
}

// sampleTSC takes the sample between whose two looks at the clock the least time passed: whoever is kept from running meanwhile has others.
func sampleTSC() (best tscSample) {
	const tries = 50
	least := time.Duration(-1)
	for range tries {
		before := time.Now()
		count := rdtsc()
		if took := time.Since(before); least < 0 || took < least {
			least, best = took, tscSample{count, before.Add(took / 2)}
		}
	}
	return best
}

// tscBase is long enough that the 100 ns or so of doubt in two samples are millionths.
const tscBase = 50 * time.Millisecond

// khz is the counter's frequency, by what it counted since s was taken, or 0 where the counter stands or runs backwards. It waits until that was long enough.
func (s tscSample) khz() uint64 {
	time.Sleep(tscBase - time.Since(s.at))
	now := sampleTSC()
	if now.count <= s.count {
		return 0
	}
	return uint64(float64(now.count-s.count)/now.at.Sub(s.at).Seconds()/1000 + 0.5)
}
