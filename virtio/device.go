package virtio

// Info is what a device type is.
type Info struct {
	Type                uint16 // section 5: 1 is a network card
	BaseClass, SubClass byte   // PCI class
	Features            uint64 // offered, without those of rings and transport
	QueueSizes          []int  // the largest size of each queue; powers of two
	ConfigSize          int    // bytes of the device configuration structure
}

// Device is a device type behind the transport. But for Info and the configuration accesses, calls come one at a time, with the transport's
// lock held.
type Device interface {
	// Info does not change.
	Info() Info
	// Bind gives the device its way back to the driver; once, before everything else.
	Bind(Host)
	// ReadConfig and WriteConfig access the device configuration: off and len(p) are within Info's ConfigSize, in any
	// width, from several vCPUs at once.
	ReadConfig(off int, p []byte)
	WriteConfig(off int, p []byte)
	// Negotiate hears of the features that the driver accepts, a subset of the offered. An error refuses FEATURES_OK.
	Negotiate(features uint64) error
	// Activate is DRIVER_OK. Queues that the driver has not enabled are nil. After an error the device needs a reset.
	Activate(features uint64, queues []*Queue) error
	// StartQueue is the enabling of one queue after Activate.
	StartQueue(q *Queue) error
	// StopQueue ends the use of one queue; it returns when no thread touches it, its chains or its segments any more.
	// That thread must never wait for the transport's lock.
	StopQueue(n int)
	// Reset returns the device to what it was before Negotiate, and like StopQueue ends the use of all queues. The
	// device may not have been activated.
	Reset()
}

// Host is the transport as the device sees it. Its methods take no lock; any thread may call them.
type Host interface {
	// ConfigChanged tells the driver that the device configuration has changed; after the change is visible to ReadConfig.
	ConfigChanged()
	// Failed sets DEVICE_NEEDS_RESET, for what is wrong with the whole device.
	Failed(err error)
}

// Doorbells is the machine's way of turning a guest's writes into signals without an exit to userspace (ioeventfd).
type Doorbells interface {
	// AddDoorbell makes writes of any length at addr signal the eventfd.
	AddDoorbell(addr uint64, eventfd int) error
	RemoveDoorbell(addr uint64, eventfd int) error
}
