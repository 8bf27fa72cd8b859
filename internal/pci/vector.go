package pci

// Vector is the way of one interrupt message out of a device. It owns an eventfd; the interrupt controllers connect that to the guest.
//
// A vector starts disconnected and without a route. Connect and Disconnect are called with the owning MSIX's lock held, Fire by
// any thread at any time.
type Vector interface {
	// Fire sends the message: one write(2) to the eventfd, without a lock or an allocation. While the vector is
	// disconnected the eventfd keeps the count.
	Fire()
	// FD is the eventfd, for a part of the kernel that fires the vector by itself. It stays the vector's.
	FD() int
	// Take empties the eventfd of a disconnected vector and returns how often it was fired since it was last empty.
	Take() uint64
	// Connect lets the eventfd reach the guest by the route last given. A count that is in it then is delivered.
	Connect() error
	// Disconnect stops that. When it returns, no message from an earlier Fire is still on its way to be decided: it has
	// been delivered or is counted in the eventfd.
	Disconnect() error
}

// Route is where a vector's messages go from now on.
type Route struct {
	Vector  Vector
	Message Message
}

// Vectors is the interrupt controllers as a device with MSI-X sees them.
type Vectors interface {
	// NewVector makes the way for vector n of a device, without a route: it costs an eventfd but no GSI.
	NewVector(device string, n int) (Vector, error)
	// SetRoutes routes vectors, none of which is connected, in one change of the routing table, all or nothing. A vector
	// that has no GSI gets one.
	SetRoutes(batch []Route) error
	// Release takes the routes of disconnected vectors and gives their GSIs back, in one change of the table. They may
	// be routed again later.
	Release(batch []Vector)
	// Remove ends a vector that is disconnected and released; its eventfd is closed.
	Remove(v Vector) error
}
