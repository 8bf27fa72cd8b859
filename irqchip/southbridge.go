package irqchip

import (
	"errors"
	"sync"

	"doorbell/internal/ledger"
	"doorbell/irqchip/ioapic"
	"doorbell/irqchip/pic"
	"doorbell/irqchip/pit"
)

// southbridge is the chips of a PC's south bridge, outside KVM: IOAPIC, PICs and PIT, with the lines that lead to them.
type southbridge struct {
	ioapic *ioapic.IOAPIC
	pic    *pic.Pair
	pit    *pit.PIT
	alarms *alarms
	clock  clock
	storms storms

	// legacy guards what the PICs' level-triggered lines have in common.
	legacy struct {
		sync.Mutex
		active [picPins]int // lines that ask for an interrupt
	}

	resampled [ioapicPins][]*bridgeResampled // not changed while the guest runs

	// ticks guards the PIT's alarm, which vCPUs and the alarms' thread set.
	ticks struct {
		sync.Mutex
		alarm *alarm
		last  int64 // when the alarm went off last
	}
	irq0 Line

	close []func() error
}

// outlets is where the south bridge's interrupts go, which is what split and user differ in.
type outlets struct {
	messages     ioapic.Output
	intr         pic.Output
	routeChanged func(pin int) // may be nil
	book         *ledger.Ledger
	activeLow    uint32 // Config.ActiveLow
}

// build wires the chips; start is called when everything that has an alarm has been made.
func (b *southbridge) build(out outlets) (err error) {
	b.clock = newClock()
	if b.alarms, err = newAlarms(); err != nil {
		return err
	}
	b.storms.redeliver = func(pin int) { b.ioapic.Redeliver(pin) }
	b.pic = pic.New(out.intr)
	b.pit = pit.New()
	if b.ioapic, err = ioapic.New(ioapic.Config{Output: out.messages, RouteChanged: out.routeChanged, Later: b.storms.later, Ended: b.ended, ActiveLow: out.activeLow}); err != nil {
		return err
	}
	if b.ticks.alarm, err = b.alarms.add(b.tick); err != nil {
		return err
	}
	b.irq0, err = b.NewLine(0, out.book.AddLine("pit", 0))
	return err
}

// tick is the PIT's alarm: an edge of IRQ 0 for what may have been several of the counter.
func (b *southbridge) tick() {
	b.ticks.Lock()
	b.ticks.last = b.clock.Now()
	b.ticks.Unlock()
	if b.pit.Advance(uint64(b.clock.Now())) > 0 {
		b.irq0.Raise()
	}
	b.armPIT(true)
}

// armPIT sets the alarm for the PIT's next edge. After an alarm the next is no sooner than MinInterval, as package pit asks; after a write of
// the guest it is when it is.
func (b *southbridge) armPIT(fired bool) {
	b.ticks.Lock()
	defer b.ticks.Unlock()
	at, ok := b.pit.Next(uint64(b.clock.Now()))
	next := int64(min(at, unsetAfter))
	if fired {
		next = max(next, b.ticks.last+pit.MinInterval)
	}
	b.ticks.alarm.set(next, ok)
}

// unsetAfter bounds a time so that it fits the alarm's.
const unsetAfter = 1 << 62

// Registers implements Chip.
func (b *southbridge) Registers() []Registers {
	ports := func(name string, base, n uint64, d Device) Registers {
		return Registers{Name: name, Space: ledger.Port, Base: base, Size: n, Granule: 1, Device: d}
	}
	return []Registers{
		{Name: "ioapic", Space: ledger.Memory, Base: ioapic.BaseAddress, Size: ioapic.Size, Granule: 16, Device: b.ioapic},
		ports("pic", pic.MasterCommand, 2, picPorts{b.pic, pic.MasterCommand}),
		ports("pic", pic.SlaveCommand, 2, picPorts{b.pic, pic.SlaveCommand}),
		ports("pic", pic.MasterELCR, 2, picPorts{b.pic, pic.MasterELCR}),
		ports("pit", pit.Counter0, 4, pitPorts{b, pit.Counter0}),
		ports("pit", pit.SystemControl, 1, pitPorts{b, pit.SystemControl}),
	}
}

// picPorts are some of the PICs' ports. A wide access is byte accesses at consecutive ports, as on the ISA bus.
type picPorts struct {
	pic  *pic.Pair
	base uint16
}

func (d picPorts) Read(off uint64, p []byte) {
	for i := range p {
		p[i] = d.pic.ReadPort(d.base + uint16(off) + uint16(i))
	}
}

func (d picPorts) Write(off uint64, p []byte) {
	for i, v := range p {
		d.pic.WritePort(d.base+uint16(off)+uint16(i), v)
	}
}

func (d picPorts) RegisterName(off uint64, write bool) string {
	return pic.RegisterName(d.base+uint16(off), write)
}

// pitPorts are some of the PIT's ports.
type pitPorts struct {
	bridge *southbridge
	base   uint16
}

func (d pitPorts) Read(off uint64, p []byte) {
	for i := range p {
		p[i] = d.bridge.pit.ReadPort(d.base+uint16(off)+uint16(i), uint64(d.bridge.clock.Now()))
	}
}

func (d pitPorts) Write(off uint64, p []byte) {
	for i, v := range p {
		d.bridge.pit.WritePort(d.base+uint16(off)+uint16(i), v, uint64(d.bridge.clock.Now()))
	}
	d.bridge.armPIT(false)
}

func (d pitPorts) RegisterName(off uint64, write bool) string {
	return pit.RegisterName(d.base+uint16(off), write)
}

func (b *southbridge) closeBridge() error {
	b.storms.stop()
	if b.alarms != nil {
		b.alarms.close()
	}
	var errs []error
	for _, c := range b.close {
		errs = append(errs, c())
	}
	b.close = nil
	return errors.Join(errs...)
}
