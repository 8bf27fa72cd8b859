package virtio

import "doorbell/guest/memory"

// ring is what a Queue needs of either kind of ring. All methods are the I/O thread's.
type ring interface {
	// pop takes the next available buffer. It returns the ring's position for errors.
	pop(c *Chain) (ok bool, position uint16, err error)
	// push stages a used buffer, which publish makes visible; publish says whether there was any.
	push(c *Chain, written uint32)
	publish() bool
	// available says, without taking any, whether there are buffers.
	available() bool
	// needsInterrupt says whether anything was published since it was last asked, and whether the driver wants to hear of it.
	needsInterrupt() (published, wanted bool)
	// enableKicks asks the driver to kick when it makes the next buffer available. It ends with a full barrier.
	enableKicks()
	disableKicks()
}

// ringConfig is where the driver put a ring, and how it is to be read.
type ringConfig struct {
	memory   *memory.Memory
	size     int // entries
	desc     uint64
	driver   uint64 // split: available ring; packed: driver event suppression
	device   uint64 // split: used ring; packed: device event suppression
	eventIdx bool
	indirect bool
}

// maxQueueSize is the largest size of either kind of ring (sections 2.7 and 2.8.10.1).
const maxQueueSize = 32768

// words returns n bytes of guest memory at gpa, widened to whole aligned words. The first of the n is at offset gpa%4. Memory begins and
// ends at pages, so the widened range is in memory when the asked one is.
func words(m *memory.Memory, gpa, n uint64) ([]byte, error) {
	if _, err := m.Bytes(gpa, n); err != nil {
		return nil, err
	}
	start, end := gpa&^3, (gpa+n+3)&^3
	return m.Bytes(start, end-start)
}
