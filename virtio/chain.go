package virtio

import (
	"math"

	"doorbell/guest/memory"
)

// Chain is one buffer of a queue: segments of guest memory that the device may read, followed by segments that it may write. It is made by
// Queue.NewChain and used again for every Pop; its slices are valid until then and as long as the queue is not stopped.
type Chain struct {
	segments [][]byte // capacity is the queue's size, which it never outgrows
	readable int      // segments[:readable] are device-readable

	readableLen, writableLen uint64

	id    uint16 // what the driver knows the buffer by: split, its first descriptor; packed, its buffer id
	slots uint16 // ring entries it takes
}

// Readable are the segments from the driver. Their contents may change while the device looks.
func (c *Chain) Readable() [][]byte { return c.segments[:c.readable] }

// Writable are the segments for the driver.
func (c *Chain) Writable() [][]byte { return c.segments[c.readable:] }

// ReadableLen is the number of bytes from the driver.
func (c *Chain) ReadableLen() uint64 { return c.readableLen }

// WritableLen is the number of bytes for the driver.
func (c *Chain) WritableLen() uint64 { return c.writableLen }

func (c *Chain) reset() {
	c.segments = c.segments[:0]
	c.readable, c.slots = 0, 0
	c.readableLen, c.writableLen = 0, 0
}

// add appends the buffer of a descriptor.
func (c *Chain) add(m *memory.Memory, d descriptor) error {
	switch {
	case d.length == 0:
		return ErrEmpty
	case len(c.segments) == cap(c.segments):
		return ErrLoop
	case c.readableLen+c.writableLen+uint64(d.length) > math.MaxUint32:
		return ErrTooLong
	}
	b, err := m.Bytes(d.addr, uint64(d.length))
	if err != nil {
		return err
	}
	if d.flags&descWrite != 0 {
		c.writableLen += uint64(d.length)
	} else {
		if c.readable < len(c.segments) {
			return ErrOrder
		}
		c.readable++
		c.readableLen += uint64(d.length)
	}
	c.segments = append(c.segments, b)
	return nil
}

// table returns an indirect table of at most as many descriptors as the chain can have segments.
func (c *Chain) table(m *memory.Memory, d descriptor) ([]byte, error) {
	if d.length == 0 || d.length%descSize != 0 || uint64(d.length)/descSize > uint64(cap(c.segments)) {
		return nil, ErrIndirectTable
	}
	return m.Bytes(d.addr, uint64(d.length))
}
