package lapic

// Fields of IA32_APIC_BASE (SDM sections 11.4.4 and 11.12.1).
const (
	baseBSP     = 1 << 8
	baseEXTD    = 1 << 10 // x2APIC mode
	baseEN      = 1 << 11
	baseFlags   = baseBSP | baseEXTD | baseEN
	baseAddress = ^uint64(PageSize - 1)
	defaultBase = 0xfee00000
)

// AddressingMode is what the APIC is on the bus, and how its registers are reached.
type AddressingMode uint8

// The modes (section 11.12.5). Disabled means by IA32_APIC_BASE; an APIC that is only disabled by software is in one of the others.
const (
	Disabled AddressingMode = iota
	XAPIC
	X2APIC
)

func (m AddressingMode) String() string {
	return [...]string{"disabled", "xAPIC", "x2APIC"}[min(m, X2APIC)]
}

// Mode is the mode that the guest has chosen.
func (a *APIC) Mode() AddressingMode {
	switch a.base & (baseEN | baseEXTD) {
	case baseEN:
		return XAPIC
	case baseEN | baseEXTD:
		return X2APIC
	}
	return Disabled
}

// Page is the guest-physical address of the register page. ok is false if there is none, and the address is memory like any other.
func (a *APIC) Page() (address uint64, ok bool) { return a.base & baseAddress, a.Mode() == XAPIC }

// writeBase is a write to IA32_APIC_BASE. The modes are left and entered in one direction (section 11.12.5, figure 11-27):
//
//	disabled ──▶ xAPIC ──▶ x2APIC
//	    ▲──────────┴─────────┘
//
// Everything else is an exception, and so is a reserved bit.
func (a *APIC) writeBase(v uint64) error {
	if v&^(baseFlags|baseAddress) != 0 || v>>a.cfg.PhysBits != 0 {
		return ErrGP
	}
	was := a.Mode()
	switch v & (baseEN | baseEXTD) {
	case baseEXTD:
		return ErrGP
	case baseEN:
		if was == X2APIC {
			return ErrGP
		}
	case baseEN | baseEXTD:
		if was == Disabled {
			return ErrGP
		}
	}
	a.base = v
	switch is := a.Mode(); {
	case is == was:
		return nil
	case is == Disabled:
		// The manual permits that everything is lost, and the state after power-up is what it names (section 11.4.3).
		a.xid = uint8(a.cfg.ID)
		a.initialize()
	case is == X2APIC:
		// ID and LDR are the hardware's from here on, and ICR has a destination of 32 bits: that of the page is not kept (section 11.12.5).
		a.icrDest = 0
	}
	a.move()
	return nil
}

// Address is where an APIC is on the bus.
type Address struct {
	Mode AddressingMode
	ID   uint32 // of 8 bits in xAPIC mode
	LDR  uint8  // the logical xAPIC ID; in x2APIC mode it follows from ID
	DFR  uint8  // the model that LDR is to be read by
}

func (a *APIC) currentAddress() Address {
	switch m := a.Mode(); m {
	case XAPIC:
		return Address{Mode: m, ID: uint32(a.xid), LDR: a.ldr, DFR: a.dfr}
	case X2APIC:
		return Address{Mode: m, ID: a.cfg.ID}
	}
	return Address{}
}

// move tells the bus if the address has changed.
func (a *APIC) move() {
	if is := a.currentAddress(); is != a.address {
		a.address = is
		if a.cfg.Moved != nil {
			a.cfg.Moved(is)
		}
	}
}

// logicalX2 is the logical x2APIC ID (section 11.12.10.2): a cluster of sixteen, and one bit in it.
func logicalX2(id uint32) uint32 { return id>>4<<16 | 1<<(id&0xf) }
