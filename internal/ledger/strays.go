package ledger

import (
	"fmt"
	"sync/atomic"
)

// maxStrays is how many different stray addresses a vCPU's page tells apart; a guest that touches more fills one more row.
const maxStrays = 64

// strays counts accesses where no device answers, by address, direction and width, in a small table with open addressing.
type strays struct {
	keys  [maxStrays]atomic.Uint64
	n     [maxStrays]Counter
	other Counter
}

// A key packs present, space, direction and width above the address, whose upper bits no guest-physical address has.
const (
	keyPresent = 1 << 63
	keyMemory  = 1 << 62
	keyWrite   = 1 << 61
	keyWidth   = 59 // two bits
	keyMSR     = 1 << 58
	keyAddr    = 1<<58 - 1
)

func (s *strays) add(space Space, addr uint64, write bool, width int) {
	key := keyPresent | addr&keyAddr | uint64(widthIndex(width))<<keyWidth
	switch space {
	case Memory:
		key |= keyMemory
	case MSR:
		key |= keyMSR
	}
	if write {
		key |= keyWrite
	}
	// Fibonacci hashing: neighbouring addresses spread over the table.
	h := key * 0x9e3779b97f4a7c15 >> 58
	for i := range uint64(maxStrays) {
		at := (h + i) % maxStrays
		switch s.keys[at].Load() {
		case 0:
			s.keys[at].Store(key)
			fallthrough
		case key:
			s.n[at].Add(1)
			return
		}
	}
	s.other.Add(1)
}

func (s *strays) rows(total map[AccessRow]uint64) {
	for i := range s.keys {
		k := s.keys[i].Load()
		if k == 0 {
			continue
		}
		space := Port
		switch {
		case k&keyMemory != 0:
			space = Memory
		case k&keyMSR != 0:
			space = MSR
		}
		row := AccessRow{
			Device: Unclaimed, Register: fmt.Sprintf("%s %#x", space, k&keyAddr),
			Direction: direction(k&keyWrite != 0), Width: 1 << (k >> keyWidth & 3),
		}
		total[row] += s.n[i].Load()
	}
	if n := s.other.Load(); n > 0 {
		total[AccessRow{Device: Unclaimed, Register: "further addresses", Direction: "either", Width: 0}] += n
	}
}
