package irqchip

import (
	"fmt"
	"os"

	"doorbell/internal/guestreport"
	"doorbell/internal/kvm"
	"doorbell/internal/pci"
)

// virtualizesAPIC and hostVendor are the host's answers.
var (
	virtualizesAPIC = kvm.VirtualizesAPIC
	hostVendor      = kvm.HostVendor
)

// Posting says of messages whether they can be posted: written into the running vCPU's local APIC without an exit (Intel SDM volume 3, section 30.6;
// AMD APM volume 2, section 15.29).
type Posting struct{ off string } // why none is; "" if some are

// NewPosting looks at the host. chip is the name of the machine's controllers.
func NewPosting(chip string) Posting {
	if chip == UserName {
		return Posting{"the local APICs are doorbell's own: KVM posts to its own only"}
	}
	yes, why := virtualizesAPIC()
	if yes && chip == KernelName && hostVendor() == kvm.VendorSVM {
		why = "KVM inhibits AVIC for a machine whose PIT sends its interrupts again (PIT_REINJ): --irqchip split has none in KVM"
	}
	return Posting{why}
}

// Off is why no message is posted; "" if some are.
func (p Posting) Off() string { return p.off }

// WhyNot is what keeps a message from being posted. It is "" where nothing that the host shows does; then the injecting thread has to be on another
// processor than the vCPU.
func (p Posting) WhyNot(m pci.Message) string {
	if p.off != "" {
		return p.off
	}
	i, ok := m.Interrupt()
	switch {
	case !ok:
		return "its message is for no local APIC"
	case i.Mode != pci.Fixed && i.Mode != pci.LowestPriority:
		return "its delivery mode is " + i.Mode.String()
	case i.Logical && i.Destination&(i.Destination-1) != 0:
		return "it has several destinations"
	}
	return ""
}

// NotificationRows are the rows of /proc/interrupts that posting moves: a notification for a vCPU that runs, one that a nested guest takes, and one that
// wakes a vCPU that waits. A processor that is in a guest takes a notification without the host's noticing.
var NotificationRows = []string{"PIN", "NPI", "PIW"}

// Notifications are the counts of NotificationRows on the whole host; a host without posting has none.
func Notifications() (map[string]uint64, error) {
	const path = "/proc/interrupts"
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	table, err := guestreport.ParseInterrupts(string(text))
	if err != nil {
		return nil, fmt.Errorf("the host's: %w", err)
	}
	counts := map[string]uint64{}
	for _, name := range NotificationRows {
		if row := table.Row(name); row != nil {
			counts[name] = row.Total
		}
	}
	return counts, nil
}
