package main

import (
	"strconv"
)

// again is the command line that does the same in the lab. Paths stay as they were given: the lab has the same files at the
// same places.
func (g *guestFlags) again(name string, args []string) []string {
	c := append([]string{"doorbell", name}, args...)
	c = append(c, "--host", hostHere, "-m", g.memory, "-c", strconv.Itoa(g.vcpus), "--irqchip", g.irqchip)
	for _, f := range []struct{ flag, value string }{{"-k", g.kernel}, {"-i", g.initrd}, {"-p", g.cmdline}} {
		if f.value != "" {
			c = append(c, f.flag, f.value)
		}
	}
	for _, r := range g.reports {
		c = append(c, "--report", r)
	}
	if g.verbose {
		c = append(c, "-v")
	}
	return c
}

// needsDefault says whether the default guest supplies something.
func (g *guestFlags) needsDefault() bool { return g.kernel == "" || g.initrd == "" || g.cmdline == "" }
