package vmm

import (
	"fmt"

	"doorbell/internal/device/fwcfg"
	"doorbell/internal/device/testdev"
	"doorbell/internal/ledger"
	"doorbell/irqchip/ioapic"
)

// testSlot is the test function's device number on the bus.
const testSlot = 2

// createTestDevices makes what --testdev adds to a machine.
func (m *Machine) createTestDevices() error {
	exit := testdev.NewExit(func(v uint32) {
		m.endWith(ending{end: Exited, reason: fmt.Sprintf("wrote %#x to the exit port: status %d", v, testdev.Status(v)), status: testdev.Status(v)})
	})
	// The lines are ORed with those of the devices that are wired to the same GSIs.
	lines := make([]func(bool), ioapic.Pins)
	for gsi := range lines {
		l, err := m.chip.NewLevel(uint32(gsi), m.ledger.AddLine("testdev", uint32(gsi)))
		if err != nil {
			return err
		}
		lines[gsi] = l.Set
	}
	gsis := testdev.NewGSIs(lines)
	for _, d := range []struct {
		name       string
		space      ledger.Space
		base, size uint64
		granule    uint64
		device     Device
	}{
		{"testdev", ledger.Port, testdev.ExitPort, testdev.ExitSize, testdev.ExitSize, exit},
		{"testdev", ledger.Port, testdev.EchoPort, testdev.EchoSize, 1, testdev.NewEcho(testdev.EchoSize)},
		{"testdev", ledger.Port, testdev.GSIPort, gsis.Size(), 1, gsis},
		{"testdev", ledger.Memory, testdev.ScratchGPA, testdev.ScratchLen, testdev.ScratchLen, testdev.NewEcho(testdev.ScratchLen)},
		{"fw_cfg", ledger.Port, fwcfg.SelectorPort, fwcfg.Size, 1, fwcfg.New(fwcfg.Config{VCPUs: m.cfg.VCPUs, Memory: m.cfg.Memory})},
	} {
		if err := m.bus.add(d.name, d.space, d.base, d.size, d.granule, d.device); err != nil {
			return err
		}
	}
	var err error
	if m.tests, err = testdev.NewPCI(m.pci); err != nil {
		return err
	}
	return m.pci.attach(testSlot, m.tests.Function())
}
