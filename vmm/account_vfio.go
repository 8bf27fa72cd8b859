package vmm

import (
	"doorbell/irqchip"
	"doorbell/vfio"
	"doorbell/vfio/sysfs"
)

// VFIOAccount is what one passed-through device did.
type VFIOAccount struct {
	Address           string            `json:"address"`
	Device            string            `json:"device"` // vendor and device number, in hexadecimal
	DriverWas         *string           `json:"driver_was"`
	Group             int               `json:"iommu_group"`
	Interface         string            `json:"iommu_interface"` // the kernel's that it was passed through by: type1 or iommufd
	Resets            bool              `json:"resets"`
	Remapping         bool              `json:"interrupt_remapping"`
	RemappingEvidence string            `json:"interrupt_remapping_evidence"`
	IOMMUs            []IOMMURow        `json:"iommus"`
	Restarts          uint64            `json:"msix_restarts"` // to have more vectors, where the host cannot add any
	Vectors           []VFIOVectorRow   `json:"vectors"`
	Lost              string            `json:"lost"`         // why the guest has lost it; empty: it has not
	LetGo             bool              `json:"guest_let_go"` // and its driver had left it before
	Events            []EventRow        `json:"events"`
	Missing           map[string]string `json:"not_measured,omitempty"`
}

// Fired is how many interrupts the host took from the device.
func (a *VFIOAccount) Fired() (n uint64) {
	for _, v := range a.Vectors {
		n += v.Fired
	}
	return n
}

// IOMMURow is what a remapping unit of the host can do; null where it does not say.
type IOMMURow struct {
	Name       string `json:"name"`
	Interrupts *bool  `json:"interrupt_remapping"`
	X2APIC     *bool  `json:"x2apic"`
	Posting    *bool  `json:"posting"`
}

// VFIOVectorRow is the account of one interrupt of a passed-through device.
type VFIOVectorRow struct {
	Kind           string  `json:"kind"` // MSI-X, MSI or INTx
	Vector         int     `json:"vector"`
	Fired          uint64  `json:"fired"` // interrupts that the host took from the device
	HostIRQ        *int    `json:"host_irq"`
	HostController *string `json:"host_controller"`
	HostAffinity   *string `json:"host_affinity"` // the host's processors that take it
	// Remapping is its row of the IOMMU's table, as it was when the vector was last looked at; null where the host does not show its tables.
	Remapping *sysfs.IRTE `json:"ir_table_entry"`

	Posted       bool     `json:"posted"`
	WhyNotPosted *string  `json:"why_not_posted"`
	VCPU         *int     `json:"vcpu"`
	IDTVector    *uint8   `json:"idt_vector"`
	ExitsPerIRQ  *float64 `json:"exits_per_irq"`
	Masked       uint64   `json:"masked"`
	Refired      uint64   `json:"refired"`
	Unmaskings   uint64   `json:"unmaskings"`
	Routings     uint64   `json:"routings"`
}

// account reads the devices' counts. The guest does not run any more.
func (p *passedDevices) account(vcpus int, posting irqchip.Posting) []VFIOAccount {
	remapping := p.container.Remapping()
	_, noTables := sysfs.Host{}.IRTable()
	var all []VFIOAccount
	for _, d := range p.devices {
		a := d.Account(posting)
		row := VFIOAccount{
			Address: a.Device.Address.String(), Device: a.Device.Identity(), Group: a.Device.Group, Interface: p.container.Interface(), Resets: a.Resets, Restarts: a.Restarts,
			Remapping: remapping.On, RemappingEvidence: remapping.Evidence, Events: d.events.list(), Vectors: []VFIOVectorRow{}, IOMMUs: []IOMMURow{},
			Missing: map[string]string{},
		}
		row.Lost, row.LetGo = d.loss()
		if a.DriverWas != "" {
			row.DriverWas = &a.DriverWas
		} else {
			row.Missing["driver_was"] = "it was not doorbell that bound the device, or it had no driver"
		}
		for _, u := range remapping.IOMMUs {
			row.IOMMUs = append(row.IOMMUs, IOMMURow{u.Name, u.Interrupts, u.X2APIC, u.Posting})
		}
		if noTables != nil {
			row.Missing["ir_table_entry"] = noTables.Error()
		}
		for _, v := range a.Vectors {
			row.Vectors = append(row.Vectors, vfioVectorRow(v, vcpus))
		}
		all = append(all, row)
	}
	return all
}

func vfioVectorRow(v vfio.VectorAccount, vcpus int) VFIOVectorRow {
	row := VFIOVectorRow{Kind: v.Kind, Vector: v.Vector, Fired: v.Fired, Posted: v.Posted}
	row.Remapping = v.Host.Remapping
	if v.Host.Controller != "" {
		row.HostIRQ, row.HostController = &v.Host.IRQ, &v.Host.Controller
		if v.Host.Affinity != "" {
			row.HostAffinity = &v.Host.Affinity
		}
	}
	if !v.Posted {
		row.WhyNotPosted = &v.Why
	}
	if v.Guest != nil {
		g := vectorRow(*v.Guest, "", vcpus)
		row.VCPU, row.IDTVector = g.VCPU, g.IDTVector
		row.Masked, row.Refired, row.Unmaskings, row.Routings = g.Masked, g.Refired, g.Unmaskings, g.Routings
	}
	return row
}

// loss is why the guest has lost the device, and whether its driver had left it before.
func (d *passedDevice) loss() (why string, letGo bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost, d.letGo
}
