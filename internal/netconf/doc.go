// Package netconf is what a Linux machine does with its network card: find it, bring it up, give it an address by DHCP or by hand,
// and look at and change its queues, coalescing, offloads and receive-side scaling. It speaks netlink and the ethtool ioctls
// (include/uapi/linux/ethtool.h) and runs no program, so that it works in an initramfs that has nothing else.
//
// Everything that waits takes a context. Names of ethtool's features, statistics and hash fields are the kernel's.
package netconf
