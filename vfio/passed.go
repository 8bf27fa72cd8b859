package vfio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"doorbell/internal/pci"
	"doorbell/irqchip"
	"doorbell/vfio/sysfs"

	"golang.org/x/sys/unix"
)

// Config is what a passed-through device needs of its machine.
type Config struct {
	Container *Container
	Address   sysfs.Address
	Name      string // for errors and reports
	Vectors   pci.Vectors
	Slots     Slots
	// Line makes the level-triggered line that the device's INTx is wired to; it is called if the device has a pin.
	Line func() (*irqchip.Resampled, error)
	// OnError hears of what fails while the guest runs.
	OnError func(error)
	// Gone is called, once, when the host wants the device back, which then works still, or the device has failed: the guest is to lose it.
	Gone func(why string, works bool)
}

// Passed is a device of the host that is the guest's.
type Passed struct {
	cfg      Config
	dev      *device
	config   configSpace
	function *pci.Function
	msi      *pci.MSI  // nil: the device has none
	msix     *pci.MSIX // nil: the device has none
	bars     []*bar
	irqs     *interrupts
	watch    *watch
	was      string

	// gone says that the host's device must not be touched any more.
	gone atomic.Bool
}

// New opens a device, resets it and makes the function that the guest will see.
func New(c Config) (_ *Passed, err error) {
	d, err := c.Container.cfg.Host.Device(c.Address)
	if err != nil {
		return nil, err
	}
	p := &Passed{cfg: c, was: c.Container.cfg.Host.DriverWas(c.Address)}
	if p.dev, err = openDevice(c.Container, d); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	switch err := p.dev.reset(); {
	case err != nil:
		c.Container.cfg.Warn("%v: the guest finds the device as it is", err)
	case !p.dev.resets:
		c.Container.cfg.Warn("%s has no reset: the guest finds it as its last driver left it", d)
	}
	p.irqs = newInterrupts(p.dev, c.OnError)
	if err := p.build(); err != nil {
		return nil, err
	}
	return p, nil
}

// Start lets the device interrupt, and listens to the host, when the function is on its bus. The guest does not run yet.
func (p *Passed) Start() (err error) {
	if p.watch, err = newWatch(p); err != nil {
		return fmt.Errorf("%s: %w", p.dev, err)
	}
	p.irqs.begin()
	return nil
}

// build makes the guest's function of the device's configuration space.
func (p *Passed) build() error {
	r := &p.dev.regions[regionConfig]
	if n, err := unix.Pread(p.dev.fd, p.config[:], int64(r.offset)); err != nil || n < len(p.config) {
		return fmt.Errorf("%s: read the configuration space: %d bytes: %w", p.dev, n, errors.Join(err, unix.EIO))
	}
	if t := p.config[regHeaderType] & headerTypeMask; t != 0 {
		return fmt.Errorf("%s has a header of type %d: only devices, of type 0, can be passed through", p.dev, t)
	}
	p.function = pci.NewFunction(p.cfg.Name, p.config.identity())
	p.dev.write(regionConfig, regCommand, []byte{p.config[regCommand] | commandIO | commandMemory, p.config[regCommand+1]})
	place, err := p.capabilities()
	if err != nil {
		return err
	}
	p.function.HookCommand(p.command())
	if err := p.addBARs(place); err != nil {
		return err
	}
	return p.addLine()
}

// capabilities gives the guest those of the device's capabilities that it can have, in the device's order and at the device's offsets.
func (p *Passed) capabilities() (place *pci.MSIXPlace, err error) {
	for _, k := range p.config.capabilities() {
		switch k.id {
		case pci.CapMSI:
			if p.dev.irqCount(irqMSI) == 0 || p.msi != nil {
				continue
			}
			if p.msi, err = pci.NewMSI(p.cfg.Name, p.config.msiForm(k.at), p.cfg.Vectors, p.cfg.OnError); err != nil {
				return nil, err
			}
			p.msi.SetSource(capability{p.irqs, irqMSI})
			p.irqs.ways[irqMSI] = p.msi
			err = p.msi.AttachAt(p.function, k.at)
		case pci.CapMSIX:
			if p.dev.irqCount(irqMSIX) == 0 || p.msix != nil {
				continue
			}
			place, err = p.addMSIX(k.at)
		default:
			if n := p.config.length(k); n > 0 {
				err = p.pass(k, n)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return place, nil
}

func (p *Passed) addMSIX(at int) (*pci.MSIXPlace, error) {
	n, place, err := p.config.msixPlace(at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.dev, err)
	}
	if p.msix, err = pci.NewMSIX(p.cfg.Name, min(n, p.dev.irqCount(irqMSIX)), p.cfg.Vectors, p.cfg.OnError); err != nil {
		return nil, err
	}
	p.msix.SetSource(capability{p.irqs, irqMSIX})
	p.irqs.ways[irqMSIX] = p.msix
	for _, r := range []struct {
		bar       int
		off, size uint64
	}{{place.TableBAR, uint64(place.TableOffset), p.msix.TableSize()}, {place.PBABAR, uint64(place.PBAOffset), p.msix.PBASize()}} {
		if r.bar >= regionConfig-1 || r.off+r.size > p.dev.regions[r.bar].size {
			return nil, fmt.Errorf("%s: its MSI-X table or pending bits, at %#x of BAR %d, are not in a BAR", p.dev, r.off, r.bar)
		}
	}
	return &place, p.msix.AttachAt(p.function, at, place)
}

// Bits of a BAR register (PCI 3.0, section 6.2.5.1).
const (
	barIO           = 1 << 0
	barType64       = 2 << 1
	barTypeMask     = 3 << 1
	barPrefetchable = 1 << 3
	numBARs         = 6
)

// addBARs gives the guest the device's BARs. The expansion ROM is not among them: nothing in the guest runs it.
func (p *Passed) addBARs(place *pci.MSIXPlace) error {
	for i := 0; i < numBARs; i++ {
		register := binary.LittleEndian.Uint32(p.config[regBAR+4*i:])
		r := &p.dev.regions[i]
		kind := pci.Memory32
		switch {
		case register&barIO != 0:
			kind = pci.Port
		case register&barTypeMask == barType64:
			kind = pci.Memory64
		}
		if r.size > 0 {
			b := &bar{p: p, index: i, size: r.size}
			if place != nil && place.TableBAR == i {
				b.table = area{uint64(place.TableOffset), p.msix.TableSize()}
			}
			if place != nil && place.PBABAR == i {
				b.pba = area{uint64(place.PBAOffset), p.msix.PBASize()}
			}
			p.bars = append(p.bars, b)
			err := p.function.AddBAR(&pci.BAR{
				Kind: kind, Index: i, Size: barSize(kind, r.size), Prefetchable: kind != pci.Port && register&barPrefetchable != 0, Handler: b, Moved: b.moved,
				Register: b.register(),
			})
			if err != nil {
				return fmt.Errorf("%s: %w", p.dev, err)
			}
			if err := b.mapPieces(); err != nil {
				return err
			}
		}
		if kind == pci.Memory64 {
			i++
		}
	}
	return nil
}

// addLine wires INTA#, whichever pin the device uses: the guest's slot has one function.
func (p *Passed) addLine() (err error) {
	if p.config[regInterruptPin] == 0 || p.dev.irqCount(irqINTx) == 0 {
		return nil
	}
	if p.irqs.line, err = p.cfg.Line(); err != nil {
		return fmt.Errorf("%s: its INTx line: %w", p.dev, err)
	}
	p.function.SetInterruptPin(1)
	return nil
}

// Function is what the guest sees.
func (p *Passed) Function() *pci.Function { return p.function }

// String names the device.
func (p *Passed) String() string { return p.dev.String() }

// Lose gives the device back to the host while the guest runs: its registers read as ones from now on. The caller has taken the function off the bus.
func (p *Passed) Lose() {
	if p.gone.Swap(true) {
		return
	}
	p.irqs.end()
	if p.msix != nil {
		p.msix.Reset()
	}
	if p.msi != nil {
		p.msi.Reset()
	}
	for _, b := range p.bars {
		p.cfg.error(b.close())
	}
	p.cfg.error(p.cfg.Container.space.release(p.dev.fd))
	p.cfg.error(p.dev.leave())
}

// error passes one on, if it is one.
func (c *Config) error(err error) {
	if err != nil {
		c.OnError(err)
	}
}

// Close gives the device back to the host. The guest does not run any more, and the bus has been reset, or New failed.
func (p *Passed) Close() error {
	var errs []error
	if p.watch != nil {
		errs = append(errs, p.watch.close())
	}
	if p.irqs != nil {
		p.irqs.end()
	}
	if p.msix != nil {
		errs = append(errs, p.msix.Close())
	}
	if p.msi != nil {
		errs = append(errs, p.msi.Close())
	}
	for _, b := range p.bars {
		errs = append(errs, b.close())
	}
	if !p.gone.Load() {
		if err := p.dev.reset(); err != nil {
			p.cfg.Container.cfg.Warn("%v", err)
		}
		errs = append(errs, p.cfg.Container.space.release(p.dev.fd))
	}
	return errors.Join(append(errs, unix.Close(p.dev.fd))...)
}
