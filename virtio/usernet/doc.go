// Package usernet is user-mode networking: a private network between the guest and this process, with a gateway that turns the
// guest's connections into sockets of this process. It needs no privilege.
//
//	10.0.2.2    the gateway; connections to it reach the host's loopback address
//	10.0.2.3    the name server: answers gateway.doorbell and host.doorbell, forwards the rest to the host's resolver
//	10.0.2.15   the guest, by DHCP
//
// A TCP/IP stack (gVisor's) ends the guest's TCP connections; each becomes a socket of the host, opened before the guest's
// handshake is answered, so that a refusal there is a reset here. UDP datagrams and echo requests are carried by flows that expire
// when idle. The network is IPv4 only; IPv6 frames are dropped and counted.
//
// # Bounds
//
// A guest chooses how much it asks for, so everything is limited by Limits: connections, flows, frames that wait for the guest.
// TCP's buffers are the largest part: the first LargeTCP connections may have 4 MiB in each direction, the others 128 KiB; with the
// default limits a guest can make the process hold 400 MiB, if it tries to.
//
// # Offloads
//
// Segments of up to 64 KiB pass in both directions where the driver accepted that, and no checksum is computed over data in
// either direction where the virtio header carries that duty.
//
// # Fewer packets, shorter ways
//
// The stack acknowledges whatever it receives at once. An acknowledgment of less than a full segment waits, for at most 40 ms, for the answer that
// carries it along, so that a guest which talks in turns is interrupted once for each answer; a flow where none came in time is not
// delayed for a while. A datagram of the flow of the one before goes to its socket past the stack.
package usernet
