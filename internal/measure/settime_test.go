package measure

import (
	"testing"
	"time"
)

// TestSetProgress: a host that takes twice as long as usual for the first experiment takes twice as long for the rest, and one that could not run tells nothing.
func TestSetProgress(t *testing.T) {
	set, err := Find([]string{"vfio", "boot", "paths", "storm"})
	if err != nil {
		t.Fatal(err)
	}
	defer func(was map[string]float64) { usualSeconds = was }(usualSeconds)
	usualSeconds = map[string]float64{"vfio": 50, "boot": 5, "paths": 20, "storm": 20}
	p, now := &setProgress{set: set}, time.Now()
	after := func(s float64) time.Time { return now.Add(time.Duration(s * float64(time.Second))) }
	for _, c := range []struct {
		what    string
		seconds float64
		want    string
	}{
		{"begin", 0, "(1 of 4) "}, {"begin", 1, "(2 of 4) "}, {"", 9, "(2 of 4) "}, {"ran", 11, "(2 of 4, about 80 s left in all) "},
		{"begin", 11, "(3 of 4, about 80 s left in all) "}, {"", 21, "(3 of 4, about 70 s left in all) "}, {"", 101, "(3 of 4, about 40 s left in all) "}, {"ran", 51, "(3 of 4, about 40 s left in all) "},
		{"begin", 51, "(4 of 4, about 40 s left in all) "}, {"", 91, "(4 of 4) "},
	} {
		switch c.what {
		case "begin":
			p.begin(p.at+1, after(c.seconds))
			if c.seconds == 0 {
				p.begin(0, now)
			}
		case "ran":
			p.ran(after(c.seconds))
		}
		if got := p.prefix(after(c.seconds)); got != c.want {
			t.Errorf("%s after %v s: %q, want %q", c.what, c.seconds, got, c.want)
		}
	}
}

// TestUsualSeconds: every experiment has its time.
func TestUsualSeconds(t *testing.T) {
	for _, e := range Experiments() {
		if usualSeconds[e.Name] <= 0 {
			t.Errorf("%s has none", e.Name)
		}
	}
}
