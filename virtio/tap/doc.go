// Package tap carries a guest's frames through a Linux tap interface (Documentation/networking/tuntap.rst): IFF_TAP, without
// packet information, with a virtio header in front of each frame, and with one descriptor for each queue pair.
//
// The interface must exist and be permitted to this process:
//
//	ip tuntap add dev tap0 mode tap multi_queue user $USER
//	ip link set tap0 up
//
// Frames go from the guest's memory to the kernel by writev(2) and back by readv(2); the kernel looks at headers that it has copied.
// Offloads are the interface's: what a driver did not accept for frames to the guest, the host's kernel does before it queues them.
//
// Which queue a frame to the guest appears on is, by default, the one on which its flow was last transmitted. With SetSteering the
// kernel runs an eBPF program that hashes as receive-side scaling does, where the kernel lets this process load one.
//
// # Polling
//
// The descriptor of a queue is for level-triggered polling, and belongs to the tap: not to be read, written or duplicated. It stays
// valid until Close, whatever happens to the interface. That of a queue that is not active is never readable. When somebody deletes
// the interface, the kernel would report an error on the descriptor for ever; the next Receive then puts another file in its place
// that is never readable, so that whoever polls it waits. A registration with epoll(7) disappears with the interface, and
// EPOLL_CTL_DEL then answers ENOENT.
package tap
