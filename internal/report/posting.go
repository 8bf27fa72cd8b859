package report

import (
	"fmt"
	"strings"

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
