package power

// kbcPulseReset is the 8042 command that pulses its output line 0, which resets
// the processor.
const kbcPulseReset = 0xfe

// KeyboardCommand is port 0x64, where a keyboard controller would have its
// status and command registers. There is no controller: reads give 0xff, as from an
// empty bus, by which drivers know. Only the reset command works, since guests
// fall back to it.
type KeyboardCommand struct{ reset Request }

// NewKeyboardCommand returns the port.
func NewKeyboardCommand(reset Request) *KeyboardCommand { return &KeyboardCommand{reset} }

// Read returns 0xff.
func (k *KeyboardCommand) Read(_ uint64, p []byte) { fill(p) }

// Write resets the machine on the command to do so.
func (k *KeyboardCommand) Write(off uint64, p []byte) {
	if off == 0 && len(p) > 0 && p[0] == kbcPulseReset {
		k.reset("keyboard controller port 0x64: command 0xfe")
	}
}

// RegisterName names the register for reports.
func (k *KeyboardCommand) RegisterName(off uint64, write bool) string {
	switch {
	case off != 0:
		return outside(off)
	case write:
		return "KBC_COMMAND"
	}
	return "KBC_STATUS"
}

// KeyboardData is port 0x60, the absent controller's data register: reads give
// 0xff, writes go nowhere. It exists for its name in reports.
type KeyboardData struct{}

// Read returns 0xff.
func (KeyboardData) Read(_ uint64, p []byte) { fill(p) }

// Write does nothing.
func (KeyboardData) Write(uint64, []byte) {}

// RegisterName names the register for reports.
func (KeyboardData) RegisterName(off uint64, _ bool) string {
	if off != 0 {
		return outside(off)
	}
	return "KBC_DATA"
}
