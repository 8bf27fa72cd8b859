package vmm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"doorbell/guest/acpi"
	"doorbell/internal/device/eject"
	"doorbell/internal/ledger"
	"doorbell/irqchip"
	"doorbell/vfio"
	"doorbell/vfio/sysfs"
)

// Where passed-through devices are: on device numbers from here on, with a pin of the IOAPIC for each of eight.
const (
	vfioSlot = 8
	maxVFIO  = 16
	intxGSI  = 16
	intxPins = 8
	ejectGSI = 9
)

// VFIOAuto is the name of the only device that can be passed through.
const VFIOAuto = "auto"

// ParseDevice reads what follows --device: vfio=ADDRESS or vfio=auto. An error is a *ConfigError.
func ParseDevice(s string) (string, error) {
	kind, what, _ := strings.Cut(s, "=")
	if kind != "vfio" || what == "" {
		return "", &ConfigError{"--device", fmt.Sprintf("%q: write vfio=ADDRESS, as in vfio=0000:00:04.0, vfio=auto or irqprobe", s)}
	}
	if what == VFIOAuto {
		return what, nil
	}
	a, err := sysfs.ParseAddress(what)
	if err != nil {
		return "", &ConfigError{"--device", err.Error()}
	}
	return a.String(), nil
}

// passedDevices is the host's devices that are the machine's.
type passedDevices struct {
	container *vfio.Container
	devices   []*passedDevice
	eject     *eject.Register
	closing   chan struct{} // closed when the machine gives them back
}

// passedDevice is one of them.
type passedDevice struct {
	*vfio.Passed
	events eventLog
	slot   int        // its number on the bus
	mu     sync.Mutex // guards lost and letGo
	lost   string     // why the guest has lost it
	letGo  bool       // the guest's driver had left it before
}

// createVFIO passes the devices of the configuration through.
func (m *Machine) createVFIO() error {
	if len(m.cfg.VFIO) == 0 {
		return nil
	}
	addresses, err := chooseDevices(m.cfg.VFIO)
	if err != nil {
		return err
	}
	container, err := vfio.NewContainer(vfio.ContainerConfig{
		VM: m.vm, Memory: m.memory.Regions(), Unsafe: m.cfg.UnsafeInterrupts, Warn: m.cfg.Warn,
	})
	if err != nil {
		return fmt.Errorf("--device vfio: %w", err)
	}
	m.vfio = &passedDevices{container: container, closing: make(chan struct{})}
	line, err := m.chip.NewLine(ejectGSI, m.ledger.AddLine("eject", ejectGSI))
	if err != nil {
		return err
	}
	m.vfio.eject = eject.New(line)
	if err := m.bus.add("eject", ledger.Port, acpi.EjectPort, acpi.EjectSize, eject.Size, m.vfio.eject); err != nil {
		return err
	}
	for i, a := range addresses {
		if err := m.passDevice(a, vfioSlot+i); err != nil {
			return fmt.Errorf("--device vfio=%s: %w", a, err)
		}
	}
	return nil
}

// chooseDevices makes addresses of what the user has asked for.
func chooseDevices(names []string) (chosen []sysfs.Address, err error) {
	for _, name := range names {
		if name != VFIOAuto {
			a, err := sysfs.ParseAddress(name)
			if err != nil {
				return nil, &ConfigError{"--device", err.Error()}
			}
			chosen = append(chosen, a)
			continue
		}
		all, err := sysfs.Host{}.Candidates()
		if err != nil {
			return nil, fmt.Errorf("--device vfio=auto: %w", err)
		}
		switch len(all) {
		case 1:
			chosen = append(chosen, all[0].Address)
		case 0:
			return nil, errors.New("--device vfio=auto: no device of this host is bound to vfio-pci: doorbell bind ADDRESS")
		default:
			var list []string
			for _, d := range all {
				list = append(list, d.String())
			}
			return nil, fmt.Errorf("--device vfio=auto: there are %s: say which", strings.Join(list, ", "))
		}
	}
	for i, a := range chosen {
		if slices.Contains(chosen[:i], a) {
			return nil, &ConfigError{"--device", fmt.Sprintf("%s is named twice", a)}
		}
	}
	return chosen, nil
}

// ChooseDevice makes an address of a name that ParseDevice has returned.
func ChooseDevice(name string) (sysfs.Address, error) {
	chosen, err := chooseDevices([]string{name})
	if err != nil {
		return sysfs.Address{}, err
	}
	return chosen[0], nil
}

// passDevice puts one device on the bus.
func (m *Machine) passDevice(a sysfs.Address, slot int) error {
	d := &passedDevice{slot: slot}
	gsi := intxPin(slot)
	name := "vfio " + a.String()
	p, err := vfio.New(vfio.Config{
		Container: m.vfio.container, Address: a, Name: name, Vectors: m.chip, Slots: m.slots,
		Line:    func() (*irqchip.Resampled, error) { return m.chip.NewResampled(gsi, m.ledger.AddLine(name, gsi)) },
		OnError: d.events.add,
		Gone:    func(why string, works bool) { m.loseDevice(d, why, works) },
	})
	if err != nil {
		return err
	}
	d.Passed = p
	m.vfio.devices = append(m.vfio.devices, d)
	if err := m.pci.attach(slot, p.Function()); err != nil {
		return err
	}
	return p.Start()
}

// ejectPatience is how long a guest has to let go of a device that still works.
const ejectPatience = 5 * time.Second

// loseDevice takes a device off the bus while the guest runs, which is asked to let go of it. From a device that still works its driver may take leave
// first; one that is gone, or whose guest does not let go in time, has registers that read as ones, as those of a device that was pulled out.
func (m *Machine) loseDevice(d *passedDevice, why string, works bool) {
	m.cfg.Warn("the guest loses %s: %s", d, why)
	gone := m.vfio.eject.Request(d.slot)
	letGo := false
	if works {
		select {
		case <-gone:
			letGo = true
		case <-time.After(ejectPatience):
			m.cfg.Warn("the guest has not let go of %s in %v: it is pulled out", d, ejectPatience)
		case <-m.vfio.closing:
		}
	}
	d.mu.Lock()
	d.lost, d.letGo = why, letGo
	d.mu.Unlock()
	m.pci.segment.Detach(d.Function())
	d.Lose()
}

// intxPin is the GSI that the pins of a device number are wired to.
func intxPin(slot int) uint32 { return uint32(intxGSI + slot%intxPins) }

// intx is the wiring of the bus's pins: for each device number whose device has one, the GSI of all four.
func (m *Machine) intx() map[int]uint32 {
	pins := map[int]uint32{}
	for i := range m.cfg.VFIO {
		pins[vfioSlot+i] = intxPin(vfioSlot + i)
	}
	if m.cfg.IRQProbe {
		pins[probeSlot] = intxPin(probeSlot)
	}
	return pins
}

// ejector describes to the guest how it is asked to let go of passed-through devices.
func (m *Machine) ejector() acpi.Ejector {
	e := acpi.Ejector{GSI: ejectGSI, Devices: map[int]bool{}}
	for i := range m.cfg.VFIO {
		e.Devices[vfioSlot+i] = true
	}
	return e
}

// activeLow are the pins of the IOAPIC that PCI's INTx# pull low.
func (m *Machine) activeLow() (pins uint32) {
	for _, gsi := range m.intx() {
		pins |= 1 << gsi
	}
	return pins
}

// close gives the devices back. The guest does not run any more and the bus has been reset.
func (p *passedDevices) close() error {
	close(p.closing)
	var errs []error
	for _, d := range p.devices {
		errs = append(errs, d.Close())
	}
	return errors.Join(append(errs, p.container.Close())...)
}
