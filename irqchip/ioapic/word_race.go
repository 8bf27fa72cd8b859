//go:build race

package ioapic

import "sync/atomic"

// word is an atomic word that several threads meet in. In a build for the race detector, and in no other, each operation is preceded by
// yield, with which a test runs through the orders in which the operations of several threads can happen.
type word struct{ v atomic.Uint64 }

// yield is set by a test while it is the only one to run.
var yield func()

func step() {
	if yield != nil {
		yield()
	}
}

func (w *word) Load() uint64        { step(); return w.v.Load() }
func (w *word) Store(v uint64)      { step(); w.v.Store(v) }
func (w *word) And(v uint64) uint64 { step(); return w.v.And(v) }
func (w *word) Or(v uint64) uint64  { step(); return w.v.Or(v) }
func (w *word) CompareAndSwap(old, v uint64) bool {
	step()
	return w.v.CompareAndSwap(old, v)
}
