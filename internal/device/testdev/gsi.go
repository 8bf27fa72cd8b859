package testdev

import "fmt"

// GSIPort is the port of GSI 0; those of the others follow.
const GSIPort = 0x2000

// GSIs are ports that drive interrupt lines: a write of anything but 0 to port n asks for an interrupt at GSI n, a write of 0 ceases to.
type GSIs struct{ set []func(level bool) }

// NewGSIs returns a port for each line; set[n] drives GSI n and may be called by several vCPUs at once.
func NewGSIs(set []func(level bool)) *GSIs { return &GSIs{set} }

// Size is the number of ports.
func (g *GSIs) Size() uint64 { return uint64(len(g.set)) }

// Read returns zeros.
func (g *GSIs) Read(_ uint64, p []byte) { clear(p) }

// Write drives the line of the first port that it touches.
func (g *GSIs) Write(off uint64, p []byte) {
	if off >= uint64(len(g.set)) {
		return
	}
	level := false
	for _, v := range p {
		level = level || v != 0
	}
	g.set[off](level)
}

// RegisterName names the registers for reports.
func (g *GSIs) RegisterName(off uint64, _ bool) string { return fmt.Sprintf("GSI %d", off) }
