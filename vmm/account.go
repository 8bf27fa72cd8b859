package vmm

import (
	"fmt"
	"sort"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/internal/ledger"
)

// Account is what one run of a machine cost, as reports show it. Figures that were not measured are nil, with the reason
// in Missing by the figure's JSON name.
type Account struct {
	VCPUs       int    `json:"vcpus"`
	MemoryBytes uint64 `json:"memory_bytes"`
	IRQChip     string `json:"irqchip"`
	Kernel      string `json:"kernel"`         // how the kernel was loaded
	Cmdline     string `json:"kernel_cmdline"` // what the guest was told
	End         string `json:"end"`            // how the run ended
	EndReason   string `json:"end_reason"`

	BootToUserspaceS *float64 `json:"boot_to_userspace_s"` // from the machine's creation to the agent's first word
	Phases           []Phase  `json:"phases"`

	ExitsTotal       *uint64           `json:"exits_total"`     // KVM's own count over all vCPUs
	ExitsByReason    map[string]int64  `json:"exits_by_reason"` // sums to exits_total
	ExitsSource      string            `json:"exits_by_reason_source"`
	ExitsByVCPU      []VCPUExits       `json:"exits_by_vcpu"`
	ExitRows         []ExitRow         `json:"exit_rows"` // reason and vCPU, each with its source
	SourcesCompared  []Comparison      `json:"sources_compared"`
	UserspaceReasons map[string]uint64 `json:"userspace_exits_by_reason"`

	UserspaceExits []ledger.AccessRow `json:"userspace_exits"`
	Lines          []ledger.LineRow   `json:"interrupt_lines"`
	Interrupts     ledger.Interrupts  `json:"interrupts"`
	Posting        *PostingAccount    `json:"posting"`
	Net            *NetAccount        `json:"net,omitempty"`
	VFIO           []VFIOAccount      `json:"vfio,omitempty"`
	NMIs           []NMIRow           `json:"nmis,omitempty"` // where the NMI button was pressed
	Kicks          uint64             `json:"kicks"`          // KVM_RUN ended by a signal: not an exit

	KVMStats []map[string]uint64 `json:"kvm_stats"` // per vCPU, by KVM's names

	RSSBytes            *uint64 `json:"rss_bytes"`
	GuestResidentBytes  *uint64 `json:"guest_resident_bytes"`
	RSSBeyondGuestBytes *uint64 `json:"rss_beyond_guest_bytes"`
	RSSWhen             string  `json:"rss_taken_at"`

	Missing map[string]string `json:"not_measured,omitempty"`
}

// Phase is a moment of the run.
type Phase struct {
	Name string  `json:"name"`
	AtS  float64 `json:"at_s"` // seconds since the machine's creation began
	// Exits are those of each vCPU so far, as KVM counts them; nil before there are vCPUs, or where the kernel has no such statistic.
	Exits []uint64 `json:"exits_by_vcpu,omitempty"`
}

// AllExits are those of all vCPUs; nil where they are not known.
func (p *Phase) AllExits() *uint64 {
	if len(p.Exits) == 0 {
		return nil
	}
	n := uint64(0)
	for _, e := range p.Exits {
		n += e
	}
	return &n
}

// NMIRow is what became of the NMI button's pulses at one vCPU's local APIC.
type NMIRow struct {
	VCPU   int    `json:"vcpu"`
	Queued uint64 `json:"queued"`
	Masked uint64 `json:"masked"` // its LINT1 entry was masked, or was not for NMIs
}

// VCPUExits is one vCPU's exits; by_reason sums to exits.
type VCPUExits struct {
	VCPU     int              `json:"vcpu"`
	Exits    uint64           `json:"exits"`
	ByReason map[string]int64 `json:"by_reason"`
}

// ExitRow is one vCPU's exits for one reason.
type ExitRow struct {
	VCPU   int    `json:"vcpu"`
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
	Source string `json:"source"`
}

// Comparison is one quantity as different sources count it.
type Comparison struct {
	What       string  `json:"what"`
	KVMStats   *uint64 `json:"kvm_statistics"`
	Tracepoint *uint64 `json:"kvm_exit_tracepoint"`
	Userspace  *uint64 `json:"userspace"`
	Note       string  `json:"note"`
}

// Names of sources.
const (
	sourceTracepoint = "kvm_exit tracepoint"
	sourceStats      = "KVM statistics"
	sourceLedger     = "userspace (KVM_RUN)"
	sourceRest       = "KVM statistics less the rows above"
)

// Other is the reason of exits that no source explains. It is negative if the sources explain more than KVM counted.
const Other = "other"

// statClasses are KVM's own counters of kinds of exits, by the reason's name; they do not overlap. What they leave is
// mostly MSR, CPUID and page-fault exits, for which KVM has no counter.
var statClasses = []struct{ counter, reason string }{
	{"io_exits", "io"}, {"mmio_exits", "mmio"}, {"halt_exits", "halt"}, {"irq_exits", "irq"},
	{"irq_window_exits", "irq_window"}, {"nmi_window_exits", "nmi_window"},
}

// countExits fills the exit tables from the sources: stats are KVM's counters per vCPU (nil entries where unknown), traced the
// tracepoint's counts (nil where it is not readable), book the exits that reached userspace.
func (a *Account) countExits(stats []map[string]uint64, traced kvmtrace.Exits, lost uint64, book *ledger.Ledger) {
	a.ExitsByReason = map[string]int64{}
	a.UserspaceReasons = map[string]uint64{}
	var total, io, tracedTotal, tracedIO, userIO, userMMIO, mmio uint64
	complete := true
	for i, st := range stats {
		user := book.VCPU(i).ExitsByReason()
		for reason, n := range user {
			a.UserspaceReasons[reason] += n
		}
		userIO += user["io"]
		userMMIO += user["mmio"]
		by, source := map[string]int64{}, sourceStats
		switch {
		case traced != nil:
			source = sourceTracepoint
			for reason, n := range traced[i] {
				by[reason] += int64(n)
				tracedTotal += n
			}
			tracedIO += traced[i]["io"] + traced[i]["io_instruction"]
		case st != nil:
			for _, c := range statClasses {
				if n := st[c.counter]; n > 0 {
					by[c.reason] += int64(n)
				}
			}
		default:
			source = sourceLedger
			for reason, n := range user {
				by[reason] += int64(n)
			}
		}
		a.ExitsSource = source
		for _, reason := range byCount(by) {
			a.ExitRows = append(a.ExitRows, ExitRow{i, reason, by[reason], source})
		}
		if st == nil {
			complete = false
			a.ExitsByVCPU = append(a.ExitsByVCPU, VCPUExits{VCPU: i, Exits: uint64(sum(by)), ByReason: by})
		} else {
			rest := int64(st["exits"]) - sum(by)
			by[Other] = rest
			a.ExitRows = append(a.ExitRows, ExitRow{i, Other, rest, sourceRest})
			a.ExitsByVCPU = append(a.ExitsByVCPU, VCPUExits{VCPU: i, Exits: st["exits"], ByReason: by})
			total += st["exits"]
			io += st["io_exits"]
			mmio += st["mmio_exits"]
		}
		for reason, n := range by {
			a.ExitsByReason[reason] += n
		}
	}
	if lost > 0 {
		a.missing("exits_by_reason", fmt.Sprintf("the tracepoint's histogram dropped %d exits; they are in other", lost))
	}
	if complete {
		a.ExitsTotal = &total
	} else {
		a.missing("exits_total", "KVM has no statistics descriptor here (Linux 5.14 or newer)")
	}
	a.compare(complete, traced != nil, total, tracedTotal, io, tracedIO, userIO, mmio, userMMIO)
}

// compare keeps what the sources say of the same thing side by side.
func (a *Account) compare(haveStats, haveTrace bool, total, tracedTotal, io, tracedIO, userIO, mmio, userMMIO uint64) {
	if haveStats && haveTrace {
		a.SourcesCompared = append(a.SourcesCompared, Comparison{What: "all exits", KVMStats: &total, Tracepoint: &tracedTotal,
			Note: "the tracepoint fires at every exit from hardware, the counter once per turn of KVM's own loop"})
	}
	if haveStats || haveTrace {
		c := Comparison{What: "port I/O", Userspace: &userIO, Note: "the kernel's own PIC, PIT and ioeventfds answer the rest"}
		if haveStats {
			c.KVMStats = &io
		}
		if haveTrace {
			c.Tracepoint = &tracedIO
		}
		a.SourcesCompared = append(a.SourcesCompared, c)
	}
	if haveStats {
		a.SourcesCompared = append(a.SourcesCompared, Comparison{What: "MMIO", KVMStats: &mmio, Userspace: &userMMIO,
			Note: "to the hardware these are page faults"})
	}
}

func (a *Account) missing(figure, why string) {
	if a.Missing == nil {
		a.Missing = map[string]string{}
	}
	a.Missing[figure] = why
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// byCount are the keys of m, most frequent first.
func byCount(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if m[keys[i]] != m[keys[j]] {
			return m[keys[i]] > m[keys[j]]
		}
		return keys[i] < keys[j]
	})
	return keys
}

// readStats reads KVM's counters of each vCPU; nil entries where it has none.
func readStats(stats []*kvm.Stats) []map[string]uint64 {
	out := make([]map[string]uint64, len(stats))
	for i, s := range stats {
		if s == nil {
			continue
		}
		if m, err := s.Read(); err == nil {
			out[i] = m
		}
	}
	return out
}
