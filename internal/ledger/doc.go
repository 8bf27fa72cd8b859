// Package ledger holds the counts that every room adds to; reports are only views of it.
//
// A count on a hot path has one writer, the vCPU's own thread, so adding is a load and a store on a cache line that no
// other thread writes: no mutex, no map, no allocation. Readers may look at any time and see each counter's recent value; after the vCPUs have stopped they see
// exact ones. Everything that a guest can choose (an address, a width) maps to a bounded number of counters.
package ledger
