package measure

import (
	"fmt"
	"time"
)

// usualSeconds are what each experiment takes on the emulated host: those that need no naming in a set, the others alone. Only their proportions matter: the
// first ones of a set tell how much faster or slower a host is.
var usualSeconds = map[string]float64{
	"boot": 4, "paths": 25, "posted": 7, "storm": 9, "coalesce": 27, "barrier": 3, "notify": 5, "irqline": 26, "ipi": 30, "shootdown": 26, "affinity": 22, "timer": 80,
	"zerocopy": 30, "ledger": 20, "threaded": 100, "modes": 50, "vfio": 90,
}

// A setProgress says how far a set is.
type setProgress struct {
	set   Set
	at    int       // the experiment that is on
	since time.Time // it is
	usual float64   // seconds of those that have run
	took  time.Duration
}

// begin says that the i-th experiment begins.
func (p *setProgress) begin(i int, now time.Time) { p.at, p.since = i, now }

// ran says that the experiment that is on has run: one that could not says nothing of a host's speed.
func (p *setProgress) ran(now time.Time) {
	p.usual += usualSeconds[p.set[p.at].Name]
	p.took += now.Sub(p.since)
}

// prefix is what comes before each message. Until the first experiment has run nobody knows how long the set takes here.
func (p *setProgress) prefix(now time.Time) string {
	number := fmt.Sprintf("(%d of %d", p.at+1, len(p.set))
	if p.usual == 0 {
		return number + ") "
	}
	slower := p.took.Seconds() / p.usual
	left := max(0, usualSeconds[p.set[p.at].Name]*slower-now.Sub(p.since).Seconds())
	for _, e := range p.set[p.at+1:] {
		left += usualSeconds[e.Name] * slower
	}
	if left < 1 {
		return number + ") "
	}
	return fmt.Sprintf("%s, about %.0f s left in all) ", number, left)
}
