package kernel

import (
	"errors"
	"fmt"

	"doorbell/guest/memory"
)

// errNoRoom marks errors that more guest memory would cure.
var errNoRoom = errors.New("does not fit")

func noRoom(gpa, size uint64, mem *memory.Memory) error {
	return fmt.Errorf("%s at %#x %w in %s of guest memory",
		memory.FormatSize(size), gpa, errNoRoom, memory.FormatSize(mem.Size()))
}

// pageUp rounds up to the next page; the argument lies within guest memory.
func pageUp(n uint64) uint64 { return (n + 4095) &^ 4095 }
