// Package mailbox is the channel between the guest's agent and the host: two
// streams of messages through memory that both see, and a doorbell. It is
// apart from the console, so that what is measured is not disturbed, and it costs
// the guest no exit but the doorbell's.
//
// # Where it is
//
// A range of Size bytes at guest physical address Base: a page of registers, then
// SharedSize bytes of RAM. The DSDT describes it as a device with the hardware ID
// DBEL0001; Linux lists the range in /proc/iomem as "DBEL0001:00". The registers:
//
//	0x000  DOORBELL  write of 4 bytes, any value: messages wait for the host
//
// The host makes DOORBELL an ioeventfd where it can. There is no interrupt to the
// guest: the agent looks for messages when it has nothing else to do.
//
// # Shared RAM
//
// Little-endian. Each index is alone in its cache lines.
//
//	0x00000  magic "DBEL", then version, 4 bytes each; written by the host, last
//	0x00080  guest tail: bytes ever put into the guest's ring    written by the guest
//	0x00100  host head: bytes ever taken out of the guest's ring written by the host
//	0x00180  host tail: the same for the host's ring             written by the host
//	0x00200  guest head                                          written by the guest
//	0x04000  guest ring, guest to host, 768 KiB
//	0xc4000  host ring, host to guest, 240 KiB
//
// Indices are 64 bits and only grow; a byte's place in its ring is its index modulo
// the ring's size. tail-head is the number of bytes in the ring. The writer of a
// ring stores frames first and then the tail; the reader copies frames out first
// and then stores the head.
//
// # Frames
//
// A ring holds whole frames, without gaps, wrapping anywhere:
//
//	uint32 length of the payload, at most MaxFrame
//	uint32 type in bits 30:0, MORE in bit 31
//	payload
//
// A message is a frame without MORE, or a run of frames of one type that all but
// the last have MORE and a payload that is not empty; at most MaxMessage in all.
// A tail never stops inside a frame.
//
// # Trust
//
// The host believes nothing. It keeps its own indices and never reads them back,
// loads each of the guest's once, copies a frame's header before it looks at
// it, and checks everything against the ring. A guest that breaks the protocol breaks
// its mailbox: every later call returns the same error.
package mailbox
