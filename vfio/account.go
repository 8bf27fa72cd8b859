package vfio

import (
	"doorbell/internal/pci"
	"doorbell/irqchip"
	"doorbell/vfio/sysfs"
)

// VectorAccount is what one of the device's interrupts did.
type VectorAccount struct {
	Kind   string // MSI-X, MSI or INTx
	Vector int
	// Fired is how often the host took it from the device.
	Fired uint64
	// Host is its row of the host's /proc/interrupts when it was last looked at.
	Host HostIRQ
	// Guest is what the guest had set up; nil for INTx.
	Guest *pci.VectorStats
	// Posted says that nothing keeps the hardware from delivering it to a running vCPU without an exit; Why is what does.
	Posted bool
	Why    string
}

// Account is what the device did.
type Account struct {
	Device    sysfs.Device
	DriverWas string // before it was bound to vfio-pci; "" if that is not known
	Resets    bool
	Vectors   []VectorAccount // those that the guest has used
	Restarts  uint64          // of MSI-X, to have more vectors
}

// Account reads the counts; any thread may ask. posting is the machine's.
func (p *Passed) Account(posting irqchip.Posting) Account {
	a := Account{Device: p.dev.Device, DriverWas: p.was, Resets: p.dev.resets}
	p.irqs.mu.Lock()
	a.Restarts = p.irqs.grown
	p.irqs.mu.Unlock()
	add := func(index int, stats []pci.VectorStats) {
		counts := p.irqs.counts(index)
		for n := range max(len(stats), 1) {
			c, counted := counts[n]
			v := VectorAccount{Kind: irqName(index), Vector: n, Fired: c.fired, Host: c.last}
			if n < len(stats) {
				v.Guest = &stats[n]
			}
			if index == irqINTx && v.Fired == 0 {
				continue // it was there until the driver chose messages
			}
			if !counted && (v.Guest == nil || v.Guest.Unmaskings == 0) {
				continue
			}
			v.Posted, v.Why = p.posted(v, posting)
			a.Vectors = append(a.Vectors, v)
		}
	}
	if p.msix != nil {
		add(irqMSIX, p.msix.Stats())
	}
	if p.msi != nil {
		add(irqMSI, p.msi.Stats())
	}
	add(irqINTx, nil)
	return a
}

// posted says whether the IOMMU posts a vector's interrupts (VT-d specification, section 5.2.5), and if not, what stands in the way first.
func (p *Passed) posted(v VectorAccount, posting irqchip.Posting) (bool, string) {
	if v.Guest == nil {
		return false, "a pin: only messages are posted"
	}
	if why := posting.WhyNot(v.Guest.Message); why != "" {
		return false, why
	}
	r := p.cfg.Container.remapping
	if !r.On {
		return false, "interrupt remapping is off (" + r.Evidence + ")"
	}
	for _, u := range r.IOMMUs {
		if u.Posting == nil || !*u.Posting {
			return false, "the IOMMU " + u.Name + " cannot post"
		}
	}
	return true, ""
}
