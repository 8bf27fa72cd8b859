package report

import (
	"fmt"
	"io"

	"doorbell/vmm"
)

// vfioTables prints each passed-through device's interrupts: host IRQ, what became of it, and where the guest has it.
func vfioTables(w io.Writer, devices []vmm.VFIOAccount) {
	for _, d := range devices {
		was := ""
		if d.DriverWas != nil {
			was = ", taken from " + *d.DriverWas
		}
		remapping := "remapped"
		if !d.Remapping {
			remapping = "NOT remapped"
		}
		heading(w, "Passed through: %s [%s], by %s, IOMMU group %d%s; its interrupts are %s (%s)", d.Address, d.Device, d.Interface, d.Group, was, remapping, d.RemappingEvidence)
		t := columns(w)
		fmt.Fprintln(t, "kind\tvector\tfired\tmasked\tre-fired\thost IRQ\tvCPU\tguest vector\texits per interrupt\tposted\t  why not")
		for _, v := range d.Vectors {
			host, vcpu, idt, posted, why := "-", "-", "-", "yes", ""
			if v.HostIRQ != nil {
				host = fmt.Sprintf("%d %s", *v.HostIRQ, *v.HostController)
				if v.Remapping != nil {
					host += " " + v.Remapping.String()
				}
			}
			if v.VCPU != nil {
				vcpu, idt = fmt.Sprint(*v.VCPU), fmt.Sprintf("%#x", *v.IDTVector)
			}
			if v.WhyNotPosted != nil {
				posted, why = "no", *v.WhyNotPosted
			}
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t  %s\n", v.Kind, v.Vector, v.Fired, v.Masked, v.Refired, host, vcpu, idt, ratio(v.ExitsPerIRQ), posted, why)
		}
		t.Flush()
		if d.Lost != "" {
			how := "it was pulled out under its driver"
			if d.LetGo {
				how = "its driver had let go of it"
			}
			heading(w, "The guest lost %s: %s; %s", d.Address, d.Lost, how)
		}
		for _, e := range d.Events {
			heading(w, "%s, %d times: %s", d.Address, e.Count, printable(e.Event))
		}
	}
}
