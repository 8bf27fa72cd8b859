package pit

import "fmt"

// RegisterName names the register at a port for reports.
func RegisterName(port uint16, _ bool) string {
	switch port {
	case Counter0, Counter1, Counter2:
		return fmt.Sprintf("counter %d", port-Counter0)
	case Control:
		return "control word"
	case SystemControl:
		return "system control"
	}
	return fmt.Sprintf("0x%x", port)
}
