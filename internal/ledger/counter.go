package ledger

import "sync/atomic"

// Counter counts what one thread does. Only its owner may Add; anyone may Load.
type Counter struct{ v atomic.Uint64 }

// Add adds n. The owner is the only writer, so that a load and a store suffice where
// two writers would need a locked read-modify-write; they are atomic for the readers' sake.
func (c *Counter) Add(n uint64) { c.v.Store(c.v.Load() + n) }

// Load is the present value.
func (c *Counter) Load() uint64 { return c.v.Load() }

// Shared counts what several threads do, such as the raising of a line.
type Shared struct{ v atomic.Uint64 }

// Add adds n.
func (c *Shared) Add(n uint64) { c.v.Add(n) }

// Load is the present value.
func (c *Shared) Load() uint64 { return c.v.Load() }
