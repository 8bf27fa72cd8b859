package vmm

import (
	"fmt"
	"time"

	"doorbell/guest/acpi"
	"doorbell/internal/device/mailbox"
	"doorbell/internal/device/power"
	"doorbell/internal/device/rtc"
	"doorbell/internal/device/uart"
	"doorbell/internal/ledger"
)

// Where the machine's ISA devices are: a PC's addresses and lines.
const (
	com1Port, com1GSI = 0x3f8, 4
	rtcPort, rtcGSI   = 0x70, 8
	rtcPorts          = 2
	kbdDataPort       = 0x60
	kbdCommandPort    = 0x64

	ioapicID = 0
)

// createDevices makes the devices and gives each its place and its line.
func (m *Machine) createDevices() error {
	com1, err := m.chip.NewLine(com1GSI, m.ledger.AddLine("com1", com1GSI))
	if err != nil {
		return err
	}
	alarm, err := m.chip.NewLine(rtcGSI, m.ledger.AddLine("rtc", rtcGSI))
	if err != nil {
		return err
	}
	m.watch = &panicWatch{fire: func(line string) { m.end(Crashed, "the guest's kernel panicked: %s", line) }}
	m.serial = uart.New(uart.Config{Line: com1, Output: m.cfg.Output, Observe: m.watch.observe})
	m.clock = rtc.New(time.Now, alarm)
	reset := func(reason string) { m.end(Reset, "reset by %s", reason) }
	powerOff := func(reason string) { m.end(PoweredOff, "powered off by %s", reason) }
	for _, d := range []struct {
		name       string
		base, size uint64
		device     Device
	}{
		{"com1", com1Port, uart.Size, m.serial},
		{"rtc", rtcPort, rtcPorts, m.clock},
		{"keyboard", kbdDataPort, 1, power.KeyboardData{}},
		{"keyboard", kbdCommandPort, 1, power.NewKeyboardCommand(reset)},
		{"power", acpi.SleepControlPort, power.SleepSize, power.NewSleep(powerOff)},
	} {
		if err := m.bus.add(d.name, ledger.Port, d.base, d.size, 1, d.device); err != nil {
			return err
		}
	}
	if err := m.createPCI(power.NewResetControl(reset)); err != nil {
		return err
	}
	if err := m.createNet(); err != nil {
		return err
	}
	if err := m.createVFIO(); err != nil {
		return err
	}
	if err := m.createIRQProbe(); err != nil {
		return err
	}
	if m.cfg.TestDev {
		if err := m.createTestDevices(); err != nil {
			return fmt.Errorf("--testdev: %w", err)
		}
	}
	if err := m.pci.segment.Place(); err != nil {
		return err
	}
	return m.createAgentChannel()
}

// acpi describes the machine to the guest.
func (m *Machine) acpi() (acpi.Tables, error) {
	bridge := m.pci.describe()
	bridge.Pins = m.intx()
	c := acpi.Config{IOAPICID: ioapicID, Tables: []acpi.Table{bridge.MCFG()}, Devices: []acpi.Device{
		acpi.Serial{Name: "COM1", UID: 0, Port: com1Port, GSI: com1GSI},
		acpi.RTC{Port: rtcPort, GSI: rtcGSI},
		acpi.Mailbox{Base: mailbox.Base, Size: mailbox.Size},
		bridge,
	}}
	if m.vfio != nil {
		c.Devices = append(c.Devices, m.ejector())
	}
	for id := range m.cfg.VCPUs {
		c.APICIDs = append(c.APICIDs, uint32(id))
	}
	return acpi.Build(c)
}
