package acpi

import "encoding/binary"

// Revision 6.4 of the FADT (section 5.2.9).
const (
	fadtSize     = 276
	fadtRevision = 6
	fadtMinor    = 4
)

// Offsets in the FADT of the fields that are not zero here.
const (
	fadtDSDT         = 40
	fadtPLvl2Lat     = 96
	fadtPLvl3Lat     = 98
	fadtCentury      = 108
	fadtIAPCBootArch = 109
	fadtFlags        = 112
	fadtResetReg     = 116
	fadtResetValue   = 128
	fadtMinorVersion = 131
	fadtXDSDT        = 140
	fadtSleepControl = 244
	fadtSleepStatus  = 256
	fadtHypervisor   = 268
)

// IAPC_BOOT_ARCH (section 5.2.9.3). Bit 1, "8042", stays clear: nobody probes
// for a keyboard controller. Bit 5, "CMOS RTC not present", stays clear: there
// is one. Bit 0, "legacy devices", stays clear: the serial port is in the DSDT,
// and no other ISA device is worth looking for.
const bootArchVGANotPresent = 1 << 2

// Fixed feature flags (section 5.2.9, table 5.10).
const (
	flagWBINVD      = 1 << 0 // WBINVD works; ACPI demands it
	flagProcC1      = 1 << 2 // HLT is C1 on every processor
	flagPwrButton   = 1 << 4 // no fixed power button
	flagSlpButton   = 1 << 5 // no fixed sleep button
	flagFixRTC      = 1 << 6 // the RTC does not wake the machine through fixed registers
	flagResetRegSup = 1 << 10
	flagHeadless    = 1 << 12
	flagHWReduced   = 1 << 20
)

// noCState, as a worst-case latency, tells that a C2 or C3 state is missing.
const noCState = 0xfff

// cmosCentury is the CMOS byte that holds the century.
const cmosCentury = 0x32

func fadt(dsdtAt uint64) []byte {
	f := make([]byte, fadtSize)
	binary.LittleEndian.PutUint32(f[fadtDSDT:], uint32(dsdtAt))
	binary.LittleEndian.PutUint16(f[fadtPLvl2Lat:], noCState)
	binary.LittleEndian.PutUint16(f[fadtPLvl3Lat:], noCState)
	f[fadtCentury] = cmosCentury
	binary.LittleEndian.PutUint16(f[fadtIAPCBootArch:], bootArchVGANotPresent)
	binary.LittleEndian.PutUint32(f[fadtFlags:], flagWBINVD|flagProcC1|flagPwrButton|flagSlpButton|
		flagFixRTC|flagResetRegSup|flagHeadless|flagHWReduced)
	ioByteRegister(f[fadtResetReg:], ResetPort)
	f[fadtResetValue] = ResetValue
	f[fadtMinorVersion] = fadtMinor
	binary.LittleEndian.PutUint64(f[fadtXDSDT:], dsdtAt)
	ioByteRegister(f[fadtSleepControl:], SleepControlPort)
	ioByteRegister(f[fadtSleepStatus:], SleepStatusPort)
	copy(f[fadtHypervisor:], vendorID)
	return table("FACP", fadtRevision, f[headerSize:])
}

// ioByteRegister writes a generic address structure (section 5.2.3.2): an
// 8-bit register in I/O space, accessed as a byte.
func ioByteRegister(b []byte, port uint64) {
	const (
		systemIO   = 1
		byteAccess = 1
	)
	b[0], b[1], b[2], b[3] = systemIO, 8, 0, byteAccess
	binary.LittleEndian.PutUint64(b[4:], port)
}
