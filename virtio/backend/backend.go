package backend

import "errors"

// MaxFrame is the longest frame that Receive stores: a header, an Ethernet header with a VLAN tag, and the longest IP packet.
// It is what a buffer for the guest must hold where segmentation offload is on (virtio 1.2, 5.1.6.3.1).
const MaxFrame = HeaderLen + EthernetLen + 4 + 65535

// EthernetLen is the length of an Ethernet header without tags.
const EthernetLen = 14

// ErrSteering is the answer of a backend that cannot steer by itself; the device then does so.
var ErrSteering = errors.New("the backend does not steer")

// Backend carries the packets of one network device.
type Backend interface {
	// String is the backend as the command line names it, for reports: "user", "tap=tap0".
	String() string
	// Queues is the number of queue pairs, which does not change.
	Queues() int
	// Queue is the queue pair with this number.
	Queue(i int) Queue
	// MTU is the longest IP packet that passes without segmentation, or 0 if the backend does not know.
	MTU() int
	// Offloads are those that the backend takes in frames from the guest, and those that it can use in frames to the guest.
	// The device offers its driver the corresponding features.
	Offloads() (fromGuest, toGuest Offloads)
	// SetOffloads says what the driver accepted for frames to the guest. Until it is called, and again after a device's
	// reset has called it with 0, frames to the guest are complete and at most an MTU long.
	SetOffloads(toGuest Offloads) error
	// SetActive says how many queue pairs, from the first, the driver uses (virtio 1.2, 5.1.6.5.5): one until it is called.
	// Frames to the guest appear on these only.
	SetActive(pairs int) error
	// SetSteering makes the backend choose the queue of each frame to the guest as s says, which must not change afterwards.
	// nil restores the backend's own choice: the queue on which the flow was last transmitted. ErrSteering, wrapped, says that
	// the backend cannot.
	SetSteering(s *Steering) error
	// Drops counts what was lost behind the queues, where no queue can be named any more.
	Drops() *Drops
	// Close ends everything. A descriptor from Queue.FD must not be polled any more when Close is called.
	Close() error
}

// Queue is one queue pair.
type Queue interface {
	// Transmit takes a frame from the guest, its header first. It always takes it: what cannot be carried is dropped and
	// counted, as on a wire.
	Transmit(frame [][]byte)
	// Receive stores the next frame for the guest, its header first, and returns its length, or 0 if there is none. A frame
	// that is longer than bufs is dropped and counted. num_buffers is stored as 1; a device that has spread the frame over
	// several descriptor chains stores the true number itself.
	Receive(bufs [][]byte) int
	// FD is a descriptor that is readable when Receive has something, or negative.
	FD() int
	// Notify sets the function to call when a frame has come after Receive returned 0. It runs on a goroutine of the backend,
	// must not block, and must not call the queue. Set before the first Receive.
	Notify(f func())
	// Counters are the queue's counts.
	Counters() *Counters
}
