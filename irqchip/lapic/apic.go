package lapic

import "doorbell/internal/ledger"

// Clock is the time that the timer runs by. Both are read on the vCPU's thread only.
type Clock interface {
	// Now is a monotonic time in nanoseconds.
	Now() int64
	// TSC is the guest's time-stamp counter.
	TSC() uint64
}

// Out takes the messages that the APIC sends to others, on the vCPU's thread and in the order of the guest's writes. It must not
// call the APIC.
type Out interface {
	Send(Message)
}

// Config connects an APIC. All of it is fixed for the APIC's life.
type Config struct {
	// ID is the x2APIC ID. Its low 8 bits are the initial xAPIC ID.
	ID uint32
	// BSP makes it the bootstrap processor's: it does not wait for a SIPI.
	BSP bool
	// X2APIC starts it in x2APIC mode, as firmware hands machines over that have IDs above 254 (SDM section 11.12.7).
	X2APIC bool
	// Clock is the time; nil is a time that stands still.
	Clock Clock
	// TSCHz is the frequency of Clock.TSC. 0 leaves TSC-deadline mode out.
	TSCHz uint64
	// PhysBits is the guest's MAXPHYADDR, which limits where the page may be moved to; 0 is 52.
	PhysBits int
	// Out takes IPIs; nil loses them. Self IPIs do not leave the APIC.
	Out Out
	// EOI is called on the vCPU's thread when the guest ends a level-triggered interrupt, for the IOAPICs; nil if there are none.
	// It must not call the APIC, but may post to its Descriptor.
	EOI func(vector uint8)
	// Moved is called on the vCPU's thread, and first by New, when the APIC has a new address on the bus.
	Moved func(Address)
	// Descriptor is where others post; nil makes one.
	Descriptor *Descriptor
}

// APIC is one vCPU's local APIC. All its methods but Stats belong to the vCPU's thread, Descriptor's to everybody.
type APIC struct {
	cfg  Config
	desc *Descriptor

	base    uint64  // IA32_APIC_BASE
	address Address // as Moved was told last

	irr, isr, tmr bitmap
	tpr           uint8
	xid           uint8 // the xAPIC ID, bits 31:24 of the register
	ldr           uint8 // the logical xAPIC ID, bits 31:24 of the register
	dfr           uint8 // the model, bits 31:28 of the register
	svr           uint32
	icr           uint32 // the low half
	icrDest       uint32 // the high half: an xAPIC has only bits 31:24
	lvt           [lvtEntries]uint32
	timer         timer
	errors        errorStatus

	lines   uint32 // evLine0 and evLine1, as the descriptor had them at the last Sync
	waiting bool   // for a SIPI
	extINT  bool   // a message of that mode has come
	events  Events // what has been taken from the descriptor, for the next call of Events

	count counters
}

// errorStatus is the ESR and what leads to it (section 11.5.3).
type errorStatus struct {
	logged  uint32 // what a read gives
	pending uint32 // what the next write will log
	fired   bool   // the error interrupt has been sent since the last write
}

// counters are the owner's counts; the descriptor has the posters'.
type counters struct {
	raised    [256]ledger.Counter // by the APIC itself: timer, LVT, self IPI
	coalesced [256]ledger.Counter // found their bit set in IRR
	delivered [256]ledger.Counter
	ended     [256]ledger.Counter
	dropped   [256]ledger.Counter // not taken by a disabled APIC, or wiped out by a reset
	ipis      [8][4]ledger.Counter
	lostIPIs  ledger.Counter
	spurious  ledger.Counter
	broadcast ledger.Counter
	idleEOIs  ledger.Counter
	illegal   ledger.Counter
	expired   ledger.Counter
	missed    ledger.Counter
	clamped   ledger.Counter
}

// stopped is the clock of an APIC without one.
type stopped struct{}

func (stopped) Now() int64  { return 0 }
func (stopped) TSC() uint64 { return 0 }

// New makes an APIC in the state after power-up.
func New(cfg Config) *APIC {
	if cfg.Clock == nil {
		cfg.Clock = stopped{}
	}
	if cfg.Descriptor == nil {
		cfg.Descriptor = new(Descriptor)
	}
	if cfg.PhysBits <= 0 || cfg.PhysBits > 52 {
		cfg.PhysBits = 52
	}
	a := &APIC{cfg: cfg, desc: cfg.Descriptor}
	a.powerUp()
	a.address = a.currentAddress()
	if cfg.Moved != nil {
		cfg.Moved(a.address)
	}
	return a
}

// Descriptor is where other threads post to this APIC.
func (a *APIC) Descriptor() *Descriptor { return a.desc }

// Reset is the power-up reset (SDM section 11.4.7.1): everything is forgotten, what is posted as well; only the pins stay as they are driven.
// The counts go on.
func (a *APIC) Reset() {
	a.desc.events.And(evLines)
	a.events, a.extINT = Events{}, false
	a.powerUp()
	a.move()
}

func (a *APIC) powerUp() {
	a.base = defaultBase | baseEN
	if a.cfg.BSP {
		a.base |= baseBSP
	}
	if a.cfg.X2APIC {
		a.base |= baseEXTD
	}
	a.waiting = !a.cfg.BSP
	a.xid = uint8(a.cfg.ID)
	a.initialize()
}

// initialize gives the registers the values after INIT, which are those after power-up but for the ID (section 11.4.7.3) and IA32_APIC_BASE.
// Interrupts that have not been delivered are gone.
func (a *APIC) initialize() {
	a.svr = svrReset
	a.desc.accepting.Store(false)
	a.discardPosted()
	a.drop(&a.irr)
	a.irr, a.isr, a.tmr = bitmap{}, bitmap{}, bitmap{}
	a.tpr, a.ldr, a.dfr = 0, 0, dfrFlat
	a.icr, a.icrDest = 0, 0
	for i := range a.lvt {
		a.lvt[i] = lvtMask
	}
	a.timer = timer{}
	a.errors = errorStatus{}
}
