package pci

// ECAMSize is the size of the window: 4 KiB for each function of one bus.
const ECAMSize = numDevices * numFunctions * ecamFunction

const ecamFunction = 4 << 10

// ecam is the window through which the configuration spaces are memory.
type ecam struct{ s *Segment }

// ECAM answers at the segment's ECAM window, which holds bus 0 and must be aligned to its size.
func (s *Segment) ECAM() Handler { return ecam{s} }

func (e ecam) Read(off uint64, p []byte)  { e.access(off, false, p) }
func (e ecam) Write(off uint64, p []byte) { e.access(off, true, p) }

func (e ecam) access(off uint64, write bool, p []byte) {
	for len(p) > 0 && off < ECAMSize {
		n := min(len(p), int(ecamFunction-off%ecamFunction))
		e.s.access(int(off/ecamFunction), int(off%ecamFunction), write, p[:n])
		off, p = off+uint64(n), p[n:]
	}
	if !write {
		fill(p)
	}
}

// RegisterName names the function.
func (e ecam) RegisterName(off uint64, _ bool) string {
	i := int(off / ecamFunction)
	return Address{i >> 3, i & 7}.String()
}
