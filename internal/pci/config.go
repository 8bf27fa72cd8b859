package pci

import "encoding/binary"

// Offsets in the configuration header of type 0 (section 6.1).
const (
	regVendorID          = 0x00
	regDeviceID          = 0x02
	regCommand           = 0x04
	regStatus            = 0x06
	regRevisionID        = 0x08
	regClassCode         = 0x09
	regCacheLineSize     = 0x0c
	regBAR0              = 0x10
	regSubsystemVendorID = 0x2c
	regSubsystemID       = 0x2e
	regCapabilities      = 0x34
	regInterruptLine     = 0x3c
	regInterruptPin      = 0x3d

	// headerSize is where capabilities may begin.
	headerSize = 0x40
	// ConfigSize is the configuration space of a conventional function; the
	// rest of its 4 KiB in the ECAM window is not there.
	ConfigSize = 0x100
)

// Bits of the command register (section 6.2.2).
const (
	commandIO         = 1 << 0 // writable where a function has ports
	commandMemory     = 1 << 1
	commandBusMaster  = 1 << 2
	commandParity     = 1 << 6
	commandSERR       = 1 << 8
	commandINTxOff    = 1 << 10
	commandWritable   = commandMemory | commandBusMaster | commandParity | commandSERR | commandINTxOff
	statusCapListMask = 1 << 4
)

// config is a configuration space: what it reads as, and which of its bits the guest may write.
type config struct {
	bytes    [ConfigSize]byte
	writable [ConfigSize]byte
}

func (c *config) put16(off int, v uint16) { binary.LittleEndian.PutUint16(c.bytes[off:], v) }
func (c *config) put32(off int, v uint32) { binary.LittleEndian.PutUint32(c.bytes[off:], v) }
func (c *config) get32(off int) uint32    { return binary.LittleEndian.Uint32(c.bytes[off:]) }
func (c *config) allow32(off int, v uint32) {
	binary.LittleEndian.PutUint32(c.writable[off:], v)
}

// write stores the writable bits of p and says whether any changed.
func (c *config) write(off int, p []byte) (changed bool) {
	for i, v := range p {
		m := c.writable[off+i]
		was := c.bytes[off+i]
		c.bytes[off+i] = was&^m | v&m
		changed = changed || c.bytes[off+i] != was
	}
	return changed
}
