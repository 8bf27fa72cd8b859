package lapic

import (
	"cmp"
	"math/bits"
	"slices"
)

// routes says who is where. It does not change: a move makes a new one.
type routes struct {
	at      []Address // by vCPU
	present set
	// byID are the APICs that are present in the order of their IDs. Guests can give two the same xAPIC ID, and a message reaches both.
	byID []resident
	// xlogical are the vCPUs in xAPIC mode with an LDR that can match.
	xlogical []uint16
}

type resident struct {
	id   uint32
	vcpu uint16
}

func newRoutes(at []Address) *routes {
	t := &routes{at: at, byID: make([]resident, 0, len(at))}
	for v, a := range at {
		if a.Mode == Disabled {
			continue
		}
		t.present.add(v)
		t.byID = append(t.byID, resident{a.ID, uint16(v)})
		if a.Mode == XAPIC && a.LDR != 0 {
			t.xlogical = append(t.xlogical, uint16(v))
		}
	}
	slices.SortFunc(t.byID, func(a, b resident) int { return cmp.Compare(a.id, b.id) })
	return t
}

// resolve adds the destinations of m to the empty set to.
func (t *routes) resolve(m Message, from int, to *set) {
	switch {
	case m.Shorthand == Self:
		if from >= 0 && t.present.has(from) {
			to.add(from)
		}
	case m.Shorthand != NoShorthand || m.Dest == Broadcast:
		*to = t.present
		if m.Shorthand == AllButSelf && from >= 0 {
			to.remove(from)
		}
	case m.Logical:
		t.logicalX2(m.Dest, to)
		t.logical(m.Dest, to)
	default:
		for i := t.find(m.Dest); i < len(t.byID) && t.byID[i].id == m.Dest; i++ {
			to.add(int(t.byID[i].vcpu))
		}
	}
}

// find is the place of the first ID that is not below id.
func (t *routes) find(id uint32) int {
	low, high := 0, len(t.byID)
	for low < high {
		if mid := int(uint(low+high) / 2); t.byID[mid].id < id {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// logicalX2 adds the APICs in x2APIC mode (SDM section 11.12.10.2). Their logical IDs follow from their IDs, and so does the search: a cluster
// is a range of sixteen IDs.
func (t *routes) logicalX2(dest uint32, to *set) {
	first := dest >> 16 << 4
	for i := t.find(first); i < len(t.byID) && t.byID[i].id < first+16; i++ {
		r := t.byID[i]
		if dest>>(r.id&0xf)&1 != 0 && t.at[r.vcpu].Mode == X2APIC {
			to.add(int(r.vcpu))
		}
	}
}

// logical adds the APICs in xAPIC mode, each by the model of its own DFR (section 11.6.2.2). Their destinations have 8 bits. In cluster mode,
// FFH is every member of every cluster.
func (t *routes) logical(dest uint32, to *set) {
	if dest > 0xff {
		return
	}
	mda := uint8(dest)
	for _, v := range t.xlogical {
		a := &t.at[v]
		switch a.DFR {
		case dfrFlat:
			if a.LDR&mda != 0 {
				to.add(int(v))
			}
		case dfrCluster:
			if mda == 0xff || a.LDR>>4 == mda>>4 && a.LDR&mda&0xf != 0 {
				to.add(int(v))
			}
		}
	}
}

// set is a set of vCPUs.
type set struct {
	words [MaxAPICs / 64]uint64
	used  int // words from here on are 0: most machines are small
}

func (s *set) add(v int) {
	s.words[v/64] |= 1 << (v % 64)
	s.used = max(s.used, v/64+1)
}

func (s *set) remove(v int)   { s.words[v/64] &^= 1 << (v % 64) }
func (s *set) has(v int) bool { return s.words[v/64]>>(v%64)&1 != 0 }

func (s *set) len() (n int) {
	for _, w := range s.words[:s.used] {
		n += bits.OnesCount64(w)
	}
	return n
}

// next is the first member that is not below v, or -1.
func (s *set) next(v int) int {
	for w := v / 64; w < s.used; w++ {
		rest := s.words[w]
		if w == v/64 {
			rest = rest >> (v % 64) << (v % 64)
		}
		if rest != 0 {
			return w*64 + bits.TrailingZeros64(rest)
		}
	}
	return -1
}

// keep removes all members but the nth, counted from 0.
func (s *set) keep(n int) {
	for v := s.next(0); v >= 0; v = s.next(v + 1) {
		if n != 0 {
			s.remove(v)
		}
		n--
	}
}
