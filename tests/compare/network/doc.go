// Package network measures what the network costs under doorbell and QEMU: the same kernel and initramfs, two vCPUs, a virtio-net card on a tap
// interface (QEMU without vhost, so that both carry packets in userspace) and on user-mode networking, against QEMU's own.
//
// The guest's agent and a controller in this process make the traffic (package traffic). Exits are counted by the kernel's kvm_exit
// tracepoint, interrupts by the guest's /proc/interrupts, both only while the load runs.
package network
