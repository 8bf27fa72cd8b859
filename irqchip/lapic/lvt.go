package lapic

// Entries of the local vector table in the order of their registers (SDM section 11.5.1). There is no CMCI.
const (
	lvtTimer = iota
	lvtThermal
	lvtPerfMon
	lvtLINT0
	lvtLINT1
	lvtError
	lvtEntries
)

// Fields of an LVT entry.
const (
	lvtVector        = 0xff
	lvtModeShift     = 8
	lvtMode          = 7 << lvtModeShift
	lvtStatus        = 1 << 12 // delivery status, read-only: an interrupt is accepted at once, so it reads 0
	lvtPolarity      = 1 << 13 // stored only: who drives a LINT pin says whether it is active
	lvtRemoteIRR     = 1 << 14 // read-only
	lvtLevel         = 1 << 15
	lvtMask          = 1 << 16
	lvtPeriodic      = 1 << 17
	lvtDeadline      = 1 << 18
	lvtTimerMode     = lvtPeriodic | lvtDeadline
	lvtReadOnly      = lvtStatus | lvtRemoteIRR
	lvtLINTWritable  = lvtVector | lvtMode | lvtPolarity | lvtLevel | lvtMask
	lvtLocalWritable = lvtVector | lvtMode | lvtMask
)

// lvtWritable are the bits that each entry has.
var lvtWritable = [lvtEntries]uint32{
	lvtTimer:   lvtVector | lvtMask | lvtTimerMode,
	lvtThermal: lvtLocalWritable,
	lvtPerfMon: lvtLocalWritable,
	lvtLINT0:   lvtLINTWritable,
	lvtLINT1:   lvtLINTWritable,
	lvtError:   lvtVector | lvtMask,
}

// writable is lvtWritable for this APIC: without TSC-deadline mode, bit 18 of the timer's entry is reserved.
func (a *APIC) writable(entry int) uint32 {
	if entry == lvtTimer && a.cfg.TSCHz == 0 {
		return lvtWritable[entry] &^ lvtDeadline
	}
	return lvtWritable[entry]
}

// writeLVT is a write to an entry. While the APIC is disabled by software, the mask bits cannot be cleared (section 11.4.7.2).
func (a *APIC) writeLVT(entry int, v uint32) {
	was := a.lvt[entry]
	v &= a.writable(entry)
	if a.svr&svrEnable == 0 {
		v |= lvtMask
	}
	switch entry {
	case lvtTimer:
		// What has expired by now has done so under the old entry.
		a.Expire()
		a.lvt[entry] = v
		a.changeTimerMode(was, v)
	case lvtLINT0:
		a.lvt[entry] = v | was&lvtRemoteIRR
		a.sampleLINT0()
	default:
		a.lvt[entry] = v
	}
}

// local is an interrupt from the source of an LVT entry.
func (a *APIC) local(entry int) {
	e := a.lvt[entry]
	if e&lvtMask != 0 {
		return
	}
	switch Mode(e & lvtMode >> lvtModeShift) {
	case Fixed:
		a.raise(uint8(e), false)
	case SMI:
		a.events.SMI = true
	case NMI:
		a.events.NMI = true
	case INIT:
		a.desc.PostINIT() // taken with the next Sync, which comes before the guest is entered
	}
	// Of the other modes, ExtINT is only for the LINT pins, which are levels then, and the rest is reserved.
}

// PerfMon is an overflow of a performance counter. It masks its LVT entry, and the handler unmasks it.
func (a *APIC) PerfMon() {
	a.local(lvtPerfMon)
	a.lvt[lvtPerfMon] |= lvtMask
}

// Thermal is an interrupt of the thermal sensor.
func (a *APIC) Thermal() { a.local(lvtThermal) }
