package report

import (
	"fmt"
	"strings"

	"doorbell/irqchip"
	"doorbell/vmm"
)

// posting says in words which of the vectors that were used the hardware posts, and what keeps the others from it.
func posting(vectors []vmm.VectorRow) string {
	posted, used := 0, 0
	var reasons []string
	count := map[string]int{}
	for _, v := range vectors {
		if v.Routings == 0 {
			continue
		}
		used++
		if v.WhyNotPosted == nil {
			posted++
			continue
		}
		if count[*v.WhyNotPosted]++; count[*v.WhyNotPosted] == 1 {
			reasons = append(reasons, *v.WhyNotPosted)
		}
	}
	switch {
	case used == 0:
		return "No vector was used."
	case posted == used:
		return "All of them can be posted to a running vCPU, without an exit."
	}
	for i, why := range reasons {
		if len(reasons) > 1 || posted > 0 {
			reasons[i] = fmt.Sprintf("%s (%d)", why, count[why])
		}
	}
	who := "None of them is"
	if posted > 0 {
		who = fmt.Sprintf("%d of the %d that were used are not", used-posted, used)
	}
	return fmt.Sprintf("%s posted to a running vCPU, each costs exits: %s.", who, strings.Join(reasons, "; "))
}

// postingLine says whether interrupts could be posted at all, and by what evidence they were.
func postingLine(p *vmm.PostingAccount) string {
	if p == nil {
		return ""
	}
	if p.WhyNot != nil {
		return "Posted interrupts: none. " + *p.WhyNot + "."
	}
	var evidence []string
	if p.Posted != nil {
		evidence = append(evidence, fmt.Sprintf("KVM gave %d to the hardware to deliver (kvm_apicv_accept_irq)", *p.Posted))
	}
	for _, name := range irqchip.NotificationRows {
		if n, ok := p.Notifications[name]; ok {
			evidence = append(evidence, fmt.Sprintf("%s rose by %d on the host", name, n))
		}
	}
	line := "Posted interrupts: the processor virtualizes local APICs"
	if len(evidence) > 0 {
		line += "; " + strings.Join(evidence, ", ")
	}
	if len(p.Inhibits) > 0 {
		line += "; KVM stopped it for: " + strings.Join(p.Inhibits, ", ")
	}
	return line + ". `doorbell measure posted` is the proof by behaviour."
}
