package mailbox

// Guest physical addresses.
const (
	// Base lies in the hole below 4 GiB that guest RAM leaves for devices.
	Base = 0xd0000000
	// PageSize is that of the register page at Base.
	PageSize = 4 << 10
	// SharedBase is where the shared RAM starts.
	SharedBase = Base + PageSize
	// SharedSize is the size of the shared RAM.
	SharedSize = 1 << 20
	// Size is what the ACPI device's memory resource covers.
	Size = PageSize + SharedSize
)

// Names by which the guest finds the range.
const (
	HID          = "DBEL0001"
	ResourceName = "DBEL0001:00"
)

// DoorbellOffset and DoorbellWidth are the doorbell's place in the register
// page and the bytes of a write to it.
const (
	DoorbellOffset = 0
	DoorbellWidth  = 4
)

// Identification, at the start of the shared RAM.
const (
	Magic   = 'D' | 'B'<<8 | 'E'<<16 | 'L'<<24
	Version = 1
)

// Limits of the protocol.
const (
	// MaxFrame is the largest payload of one frame.
	MaxFrame = 512 << 10
	// MaxMessage is the largest payload of one message. It bounds what a guest
	// can make the host keep.
	MaxMessage = 16 << 20
)

// Offsets in the shared RAM.
const (
	identOffset     = 0x000
	guestTailOffset = 0x080
	hostHeadOffset  = 0x100
	hostTailOffset  = 0x180
	guestHeadOffset = 0x200

	guestRingOffset = 0x4000
	guestRingSize   = 768 << 10
	hostRingOffset  = guestRingOffset + guestRingSize
	hostRingSize    = 240 << 10
)

// Frame headers.
const (
	headerSize = 8
	moreFlag   = 1 << 31
)

// The rings fill the shared RAM exactly.
var _ = [1]struct{}{}[hostRingOffset+hostRingSize-SharedSize]
