// Package backend is the seam between a virtio network device and what carries its packets.
//
// A Backend has one Queue per queue pair. Frames cross it in both directions as scatter-gather lists of guest memory, each
// frame with a struct virtio_net_hdr in front (virtio 1.2, 5.1.6), so that checksums and segmentation can be left to the
// other side.
//
// # Who owns what
//
// Both Transmit and Receive borrow the slices for the duration of the call and keep nothing of them. The guest may change
// its memory at any moment: a backend that looks at a frame looks at a copy, or leaves the looking to the host's kernel.
// Neither call allocates, blocks or takes a lock that a packet on another queue could hold for long.
//
// Each direction of a queue has one caller at a time; the two directions, and different queues, run in parallel. Everything
// else may be called at any time from any goroutine, Close included: calls that are under way finish, later ones do nothing,
// and Close returns when the backend has no goroutine and no descriptor left.
//
// # How readiness is told
//
// Receive is asked until it answers 0. Then either FD becomes readable (a tap), or, where FD is negative, the function given to
// Notify is called once when the next frame has come. A caller that polls need not use either.
package backend
