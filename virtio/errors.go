package virtio

import (
	"errors"
	"fmt"
)

// What a driver can do wrong in a ring. They come wrapped in a QueueError; a segment outside memory is a *memory.RangeError.
var (
	ErrAvailIndex      = errors.New("more buffers are available than the queue has entries")
	ErrHead            = errors.New("the chain's first descriptor is not in the table")
	ErrNext            = errors.New("the next descriptor is not in the table")
	ErrLoop            = errors.New("the chain is longer than the queue, or loops")
	ErrEmpty           = errors.New("a buffer has no bytes")
	ErrOrder           = errors.New("a device-readable buffer follows a device-writable one")
	ErrTooLong         = errors.New("the chain is longer than 4 GiB")
	ErrIndirect        = errors.New("an indirect descriptor was not negotiated")
	ErrIndirectNested  = errors.New("an indirect descriptor is in an indirect table")
	ErrIndirectChained = errors.New("an indirect descriptor has a next one")
	ErrIndirectTable   = errors.New("an indirect table's length is not that of 1 to queue-size descriptors")
)

// QueueError is a driver's violation that stopped a queue. After it, Pop returns the same error until the queue is reset.
type QueueError struct {
	Queue int
	// Position is the ring's index of the entry: free-running for split rings, of the descriptor for packed ones.
	Position uint16
	Err      error
}

func (e *QueueError) Error() string {
	return fmt.Sprintf("queue %d: buffer at index %d: %v", e.Queue, e.Position, e.Err)
}

func (e *QueueError) Unwrap() error { return e.Err }
