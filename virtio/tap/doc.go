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
package tap
