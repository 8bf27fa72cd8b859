package pci

// VectorStats is what happened to one vector, for reports.
type VectorStats struct {
	Vector int
	// Message is the one routed last; Live says that it is delivered.
	Message Message
	Live    bool
	// Fired counts the device model's calls of Fire. The kernel's own firing of the eventfd is seen only while the vector is not live.
	Fired uint64
	// Masked counts firings that found the vector masked; of those, Coalesced were merged into one that was pending, and Refired were
	// delivered when the vector was unmasked. The rest is pending or was given up with a reset.
	Masked, Coalesced, Refired uint64
	// Unmaskings and Routings are the guest's changes, Undelivered unmaskings with an address of no interrupt controller.
	Unmaskings, Routings, Undelivered uint64
}

// Stats is the account of every vector.
func (m *MSIX) Stats() []VectorStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set.stats()
}
