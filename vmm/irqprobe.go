package vmm

import (
	"fmt"

	"doorbell/internal/device/irqprobe"
)

// IRQProbe is the name, after --device, of the function that interrupts when its driver tells it to.
const IRQProbe = "irqprobe"

// probeSlot is its device number on the bus.
const probeSlot = 3

// createIRQProbe makes the function that the configuration asks for.
func (m *Machine) createIRQProbe() error {
	if !m.cfg.IRQProbe {
		return nil
	}
	gsi := intxPin(probeSlot)
	pin, err := m.chip.NewLevel(gsi, m.ledger.AddLine(IRQProbe, gsi))
	if err != nil {
		return err
	}
	m.probe, err = irqprobe.New(IRQProbe, m.chip, pin, func(err error) { m.cfg.Warn("%v", err) })
	if err != nil {
		return fmt.Errorf("--device %s: %w", IRQProbe, err)
	}
	return m.pci.attach(probeSlot, m.probe.Function())
}
