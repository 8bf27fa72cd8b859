// Package netdev is the virtio network device (virtio 1.2, section 5.1) over a backend.
//
//	guest ── tx ring ──► transmitter ──► backend.Queue.Transmit
//	guest ◄── rx ring ── receiver    ◄── backend.Queue.Receive
//	guest ── ctrl ring ─► controller ──► policy, coalescing ──► the threads above
//
// # Threads
//
// Every queue has a goroutine of its own, from the moment it is enabled until it is stopped. A packet crosses it without a lock, an
// allocation, a channel or a map. What the driver sets through the control queue reaches the others as one pointer to an
// unchanging policy, and as one word per queue for coalescing.
//
// A goroutine with nothing to do waits for its queue's kick, its backend, its own deadline (coalescing) and its colleagues at once;
// Config.IO says how.
//
// # Interrupts
//
// Received frames are told of batch by batch, unless the driver asks for coalescing (VIRTIO_NET_CTRL_NOTF_COAL). Transmitted ones wait a little
// if the driver has set nothing: Linux cleans up its transmit queue whenever it looks at the receive queue beside it, so that most of
// their interrupts are not wanted any more when their time has come (coalesce.go).
//
// # Buffers
//
// With VIRTIO_NET_F_MRG_RXBUF the receiver holds as many chains as the longest frame needs and has the backend store right into them.
// When the driver has given less, the frame comes by way of a buffer of the device's and waits there for the driver to give more,
// so that nothing is lost to a ring that is only momentarily empty.
//
// # Steering
//
// Receive-side scaling is the backend's work. Where it cannot, the receivers sort the frames themselves: each takes what its
// backend queue has, hashes it, and hands it to the receiver of the queue that the indirection table names, through a ring
// of bytes with one writer and one reader.
//
// # Hostile drivers
//
// A chain that breaks the rules stops its queue. A command that does is answered with VIRTIO_NET_ERR, whatever its length. Tables
// have fixed sizes; one that overflows accepts everything of its kind, as section 5.1.6.5.2 suggests.
//
// References: Virtual I/O Device (VIRTIO) Version 1.2, to which section numbers refer; VIRTIO_NET_F_VQ_NOTF_COAL and the USO features
// are of version 1.3.
package netdev
