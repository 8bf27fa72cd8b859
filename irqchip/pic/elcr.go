package pic

// Bits of the edge/level control registers that can be set. The timer, the keyboard, the cascade, the real-time clock and the
// coprocessor's error are edge-triggered whatever is written (PIIX3 data sheet, ELCR1 and ELCR2), and read as 0.
const (
	elcrMaster = 0xf8
	elcrSlave  = 0xde
)
