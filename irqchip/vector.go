package irqchip

import (
	"encoding/binary"

	"doorbell/internal/pci"

	"golang.org/x/sys/unix"
)

// MessageVector is the way of one MSI-X vector to the local APICs: an eventfd that, while connected, KVM turns into the message of its
// GSI's route, in the context of whoever writes to it.
type MessageVector struct {
	all     *messages
	device  string
	number  int
	eventfd int

	// Guarded by all.mu, but for Connect and Disconnect, which the owner calls only while the vector is routed.
	gsi     int
	message pci.Message
}

// noGSI is the gsi of a vector without a route.
const noGSI = -1

// Fire implements pci.Vector.
func (v *MessageVector) Fire() {
	// It can only fail with EAGAIN, when 2^64-2 firings wait to be taken.
	_, _ = unix.Write(v.eventfd, one)
}

// FD implements pci.Vector.
func (v *MessageVector) FD() int { return v.eventfd }

// Take implements pci.Vector.
func (v *MessageVector) Take() uint64 {
	var b [8]byte
	if n, err := unix.Read(v.eventfd, b[:]); n != len(b) || err != nil {
		return 0 // EAGAIN: it is empty
	}
	return binary.NativeEndian.Uint64(b[:])
}

// Connect implements pci.Vector. KVM delivers at once when it finds a count in the eventfd, but leaves the count there, where a later
// mask would take it for a second interrupt. Emptying it afterwards loses nothing: from KVM_IRQFD on, KVM itself takes what is fired.
func (v *MessageVector) Connect() error {
	if err := v.all.kvm.IRQFD(uint32(v.gsi), v.eventfd); err != nil {
		return err
	}
	v.Take()
	return nil
}

// Disconnect implements pci.Vector.
func (v *MessageVector) Disconnect() error { return v.all.kvm.RemoveIRQFD(uint32(v.gsi), v.eventfd) }
