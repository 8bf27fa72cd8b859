package measure

import (
	"cmp"
	"slices"

	"doorbell/internal/report"
)

// plot makes bars of one value each.
func plot(title string, bars ...report.Bar) *report.Plot {
	return &report.Plot{Title: title, Bars: bars}
}

func bar(label string, values ...float64) report.Bar {
	return report.Bar{Label: label, Values: values}
}

// curve joins points in the order of what they have on the horizontal axis.
func curve(title, across string, points ...report.Bar) *report.Plot {
	slices.SortStableFunc(points, func(a, b report.Bar) int { return cmp.Compare(a.X, b.X) })
	return &report.Plot{Title: title, Across: across, Bars: points}
}

// What has been published of the experiments' subjects.
const (
	literaturePaths = "ELI (ASPLOS 2012) tells an interrupt's delivery from its completion and counts about two exits for one; paravirtual EOI was published as 2.36 exits against 1; " +
		"IPI virtualization as 22 % fewer cycles with an xAPIC and 16 % with an x2APIC."
	literaturePosted   = "ELI (ASPLOS 2012): without exits for interrupts a guest goes from 60-65 % to 97-100 % of bare metal. DID (VEE 2015): a hundredth of the exits, 80 % less latency to the handler."
	literatureCoalesce = "vIC (ATC 2011): coalescing a guest's disk interrupts gave up to 18 % more in micro-benchmarks and 5 % in TPC-C."
	literatureAffinity = "Linux's Documentation/networking/scaling.rst: RPS does not raise the rate of device interrupts, but introduces IPIs. IPI virtualization was published as 22 % fewer cycles " +
		"for an IPI with an xAPIC and 16 % with an x2APIC."
	literatureShootdown = "Linux's Documentation/virt/kvm/x86/cpuid.rst: with KVM_FEATURE_PV_TLB_FLUSH a guest sends no IPI to a vCPU that is preempted, which flushes when it runs next."
	literatureTimer     = "Linux's exitless timer was published with 42,916 external-interrupt exits going to 6,871."
	literatureThreaded  = "Linux's Documentation/admin-guide/kernel-parameters.txt: threadirqs forces threading of all handlers but those marked IRQF_NO_THREAD; PREEMPT_RT does so always " +
		"(kernel/irq/manage.c), and runs softirqs in the thread that raised them or in ksoftirqd."
	literatureBoot    = "Firecracker (NSDI 2020) starts a guest's user space in as little as 125 ms, without a BIOS, PCI or legacy devices: most of what is counted here is what it leaves out."
	literatureModes   = "Linux's Documentation/virt/kvm/api.rst has the three: KVM_CREATE_IRQCHIP, KVM_CAP_SPLIT_IRQCHIP, which leaves PIC and IOAPIC to the VMM, and none."
	literatureIRQLine = "Linux's Documentation/PCI/msi-howto.rst: pin-based interrupts are often shared, so that the kernel must call each handler of the line; MSIs are never shared."
	literatureNotify  = "eventfd(2): the kernel's overhead of an eventfd is much lower than that of a pipe, and it takes one descriptor where a pipe takes two."
	literatureStorm   = "KVM's own IOAPIC waits 10 ms after 10,000 level interrupts in a row (virt/kvm: IOAPIC_SUCCESSIVE_IRQ_MAX_COUNT), since guests were found in this storm."
	literatureBarrier = "Intel SDM volume 3, section 9.2.3.4: loads may be reordered with earlier stores to different locations; virtio 1.2, section 2.7.13.4.1, demands the barrier."
)
