package pci

// Message is what an interrupt is on the bus: a write of Data to Address.
type Message struct {
	Address uint64
	Data    uint32
}
