package vfio

import (
	"os"
	"strings"

	"doorbell/internal/pci"
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
	// Posted says whether the hardware delivers it to a running vCPU without an exit; Why, if it does not.
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

// Account reads the counts; any thread may ask.
func (p *Passed) Account(userLAPIC bool) Account {
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
			v.Posted, v.Why = p.posting(v, userLAPIC)
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

// posting says whether a vector's interrupts are posted (Intel SDM volume 3, section 30.6; VT-d specification, section 5.2.5), and if not, what
// stands in the way first.
func (p *Passed) posting(v VectorAccount, userLAPIC bool) (bool, string) {
	if v.Guest == nil {
		return false, "a pin: only messages are posted"
	}
	if userLAPIC {
		return false, "the local APICs are doorbell's own: KVM posts to its own only"
	}
	if why := apicvOff(); why != "" {
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
	i, ok := v.Guest.Message.Interrupt()
	switch {
	case !ok:
		return false, "its message is for no local APIC"
	case i.Mode != pci.Fixed && i.Mode != pci.LowestPriority:
		return false, "its delivery mode is " + i.Mode.String()
	case i.Logical && i.Destination&(i.Destination-1) != 0:
		return false, "it has several destinations"
	}
	return true, ""
}

// apicvOff is why KVM does not virtualize local APICs in hardware, by its modules' parameters; "" if it does.
func apicvOff() string {
	for _, path := range []string{"/sys/module/kvm_intel/parameters/enable_apicv", "/sys/module/kvm_amd/parameters/avic"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		switch value := strings.TrimSpace(string(text)); value {
		case "Y", "1":
			return ""
		default:
			return path[strings.LastIndexByte(path, '/')+1:] + "=" + value + ": KVM does not virtualize local APICs in hardware"
		}
	}
	return "KVM's modules do not say whether local APICs are virtualized in hardware"
}
