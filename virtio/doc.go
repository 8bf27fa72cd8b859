// Package virtio is virtio 1.2 over PCI: the queues, and the transport that a guest's driver sees. Modern devices only, with MSI-X.
//
//	guest ── MMIO ──► PCI ── Activate, StopQueue, Reset ──► Device
//	  │                │ owns                                 │ Pop, Push, Publish
//	  │ rings in RAM   ▼                                      ▼
//	  └──────────────────────────► Queue ◄────────────────────┘
//	                                 │ Interrupt
//	                                 ▼ pci.MSIX.Fire: one write(2)
//
// # Threads
//
// A Queue belongs to one I/O thread of its device at a time and has no lock; the path of a packet (Pop, Push, Publish, NeedsInterrupt,
// Interrupt) neither locks nor allocates. Registers are written by vCPU threads under the transport's lock. The two meet only
// in atomics and in the Device's promise that after StopQueue or Reset no thread of it touches the queue. Since the transport holds
// its lock while it waits for that, nothing an I/O thread calls may take the lock.
//
// # Hostile drivers
//
// Everything in a ring is untrusted and may change while it is read. Each descriptor is read once into locals; every guest address goes
// through memory.Memory.Bytes; a chain has at most as many segments as the queue has entries. What breaks a rule
// stops its queue with a QueueError and sets DEVICE_NEEDS_RESET; other queues go on.
//
// References: Virtual I/O Device (VIRTIO) Version 1.2, to which section numbers refer.
package virtio
