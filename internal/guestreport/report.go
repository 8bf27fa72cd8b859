package guestreport

// A Report is what the agent sends when its workload is over.
type Report struct {
	// Kernel is the release, as uname -r prints it.
	Kernel string `json:"kernel"`
	// CPUsOnline is the number of CPUs that ran when the agent started.
	CPUsOnline int `json:"cpus_online"`
	// MemoryBytes is MemTotal: what the kernel can use of its memory.
	MemoryBytes uint64 `json:"memory_bytes"`
	// UserspaceUptimeNs is the guest's own boot clock at the agent's first
	// instructions. The clock starts in the kernel, not at power-on.
	UserspaceUptimeNs int64 `json:"userspace_uptime_ns"`
	// Modules are the kernel modules that were loaded, in order.
	Modules []string `json:"modules,omitempty"`
	// Network is nil where there is no card, or nobody wanted it.
	Network *Network `json:"network,omitempty"`
	// Workload is what ran, spelled as it was asked for, and how it went.
	Workload WorkloadResult `json:"workload"`
	// Before and After enclose the workload and nothing else.
	Before Snapshot `json:"before"`
	After  Snapshot `json:"after"`
}

// Delta is what the workload caused: After without Before.
func (r *Report) Delta() Snapshot { return r.After.Since(&r.Before) }

// A WorkloadResult says how a workload ended.
type WorkloadResult struct {
	Spec       string `json:"spec"`
	DurationNs int64  `json:"duration_ns"`
	// ExitStatus is that of a program that was run, 128 + the signal's number
	// when a signal ended it.
	ExitStatus int `json:"exit_status"`
	// Error is why the workload could not run to its end; empty otherwise.
	Error string `json:"error,omitempty"`
	// Fetch, Ping and Disk are what the workloads of these names found.
	Fetch *FetchResult `json:"fetch,omitempty"`
	Ping  *PingResult  `json:"ping,omitempty"`
	Disk  *DiskResult  `json:"disk,omitempty"`
	// IRQProbe is the same.
	IRQProbe *IRQProbeResult `json:"irqprobe,omitempty"`
}

// A DiskResult is what was written to a disk and read back from it.
type DiskResult struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of what was read
}

// A Job is what the host asks of an agent that waits for one. Empty fields
// leave what the guest's command line said.
type Job struct {
	// Workload has the form of the doorbell.workload= parameter.
	Workload string `json:"workload,omitempty"`
	// End has the form of the doorbell.end= parameter.
	End string `json:"end,omitempty"`
}

// A Snapshot is the guest's counters at one moment.
type Snapshot struct {
	// UptimeNs is the guest's boot clock.
	UptimeNs   int64      `json:"uptime_ns"`
	Interrupts Interrupts `json:"interrupts"`
	Softirqs   Softirqs   `json:"softirqs"`
	Stat       Stat       `json:"stat"`
}

// Since returns what s counted after before was taken.
func (s *Snapshot) Since(before *Snapshot) Snapshot {
	return Snapshot{
		UptimeNs:   s.UptimeNs - before.UptimeNs,
		Interrupts: s.Interrupts.Since(&before.Interrupts),
		Softirqs:   s.Softirqs.Since(&before.Softirqs),
		Stat:       s.Stat.Since(&before.Stat),
	}
}
