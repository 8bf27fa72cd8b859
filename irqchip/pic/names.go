package pic

import "fmt"

// RegisterName names the register at a port for reports. What a write is depends on its value and on the chip's state.
func RegisterName(port uint16, write bool) string {
	switch port {
	case MasterCommand, SlaveCommand:
		if write {
			return "ICW1/OCW2/OCW3"
		}
		return "IRR/ISR/poll"
	case MasterData, SlaveData:
		if write {
			return "ICW2-4/OCW1"
		}
		return "IMR"
	case MasterELCR, SlaveELCR:
		return "ELCR"
	}
	return fmt.Sprintf("0x%x", port)
}
