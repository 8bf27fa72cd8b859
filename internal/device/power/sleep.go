package power

// Registers of Sleep, as offsets from its base (ACPI 6.4, section 4.8.3.7).
const (
	sleepControl = 0
	sleepStatus  = 1
)

// SleepSize is the number of I/O ports that Sleep decodes.
const SleepSize = 2

// Bits of the sleep control register.
const (
	slpTypShift = 2
	slpTypMask  = 7 << slpTypShift
	slpEn       = 1 << 5 // write-only
)

// slpTypS5 is the soft-off type that \_S5 in the DSDT announces.
const slpTypS5 = 5

// Sleep is the pair of sleep registers of hardware-reduced ACPI. Only soft-off is
// there to be entered; other sleep types are ignored. WAK_STS of the status
// register never rises, since the machine never wakes.
type Sleep struct{ powerOff Request }

// NewSleep returns the registers.
func NewSleep(powerOff Request) *Sleep { return &Sleep{powerOff} }

// Read returns zeroes: the control register's SLP_TYP and SLP_EN act when
// written and hold nothing, and WAK_STS is clear.
func (s *Sleep) Read(off uint64, p []byte) {
	fill(p)
	for i := range p {
		if off < SleepSize && off+uint64(i) < SleepSize {
			p[i] = 0
		}
	}
}

// Write powers the machine off when SLP_TYP is S5 and SLP_EN is set. The status
// register's one bit is cleared by writing 1, and is clear.
func (s *Sleep) Write(off uint64, p []byte) {
	if off == sleepControl && len(p) > 0 && p[0]&(slpTypMask|slpEn) == slpTypS5<<slpTypShift|slpEn {
		s.powerOff("ACPI sleep control register: SLP_TYP 5 (soft off)")
	}
}

// RegisterName names the registers for reports, as the FADT does.
func (s *Sleep) RegisterName(off uint64, _ bool) string {
	switch off {
	case sleepControl:
		return "SLEEP_CONTROL_REG"
	case sleepStatus:
		return "SLEEP_STATUS_REG"
	}
	return outside(off)
}
