package bootparam

// PageSize is the size of struct boot_params.
const PageSize = 4096

// Offsets in struct boot_params outside the setup header (zero-page.rst).
const (
	offACPIRSDPAddr    = 0x070 // u64
	offExtRamdiskImage = 0x0c0 // u32, bits 63:32 of ramdisk_image
	offExtRamdiskSize  = 0x0c4 // u32, bits 63:32 of ramdisk_size
	offExtCmdLinePtr   = 0x0c8 // u32, bits 63:32 of cmd_line_ptr
	offE820Entries     = 0x1e8 // u8, number of entries in e820_table
	offE820Table       = 0x2d0 // boot_e820_entry[128]
)

// Offsets of struct setup_header's fields, in a bzImage and in struct
// boot_params alike (boot.rst, "The Real-Mode Kernel Header"). The comment
// gives the width and the first protocol version that has the field.
const (
	HeaderOffset = 0x1f1 // where the setup header begins

	offSetupSects      = 0x1f1 // u8
	offSyssize         = 0x1f4 // u32, in paragraphs of 16 bytes; 2.04
	offVidMode         = 0x1fa // u16
	offBootFlag        = 0x1fe // u16
	offJump            = 0x200 // u8 opcode, then the u8 distance to the header's end
	offHeader          = 0x202 // "HdrS"; 2.00
	offVersion         = 0x206 // u16, major in the high byte; 2.00
	offTypeOfLoader    = 0x210 // u8; 2.00
	offLoadflags       = 0x211 // u8; 2.00
	offRamdiskImage    = 0x218 // u32; 2.00
	offRamdiskSize     = 0x21c // u32; 2.00
	offHeapEndPtr      = 0x224 // u16; 2.01
	offExtLoaderVer    = 0x226 // u8; 2.02
	offExtLoaderType   = 0x227 // u8; 2.02
	offCmdLinePtr      = 0x228 // u32; 2.02
	offInitrdAddrMax   = 0x22c // u32, the highest usable address; 2.03
	offKernelAlignment = 0x230 // u32; 2.05
	offXloadflags      = 0x236 // u16; 2.12
	offCmdlineSize     = 0x238 // u32, without the final zero; 2.06
	offPayloadOffset   = 0x248 // u32, from the protected-mode code; 2.08
	offPayloadLength   = 0x24c // u32; 2.08
	offSetupData       = 0x250 // u64; 2.09
	offPrefAddress     = 0x258 // u64; 2.10
	offInitSize        = 0x260 // u32; 2.10

	headerLimit = 0x290 // edd_mbr_sig_buffer: the header may not reach it
)

// Values of the fields.
const (
	bootFlag  = 0xaa55
	signature = "HdrS"

	// LoadedHigh is the bit of loadflags that says the protected-mode code
	// lies at or above 1 MiB.
	LoadedHigh = 1 << 0

	// canUseHeap is the bit of loadflags that makes heap_end_ptr valid.
	canUseHeap = 1 << 7

	// XLFKernel64 is the bit of xloadflags that says the protected-mode code
	// has a 64-bit entry point at offset 0x200.
	XLFKernel64 = 1 << 0

	typeOfLoaderUndefined = 0xff   // a loader without an assigned number
	vidModeNormal         = 0xffff // "normal"
)
