package guestreport

// IRQProbeResult is what the driver irqprobe saw of its device's interrupts.
type IRQProbeResult struct {
	CPU   int            `json:"cpu"`   // that they went to; the one that caused them and waited is another where there are two
	Waits int            `json:"waits"` // the CPU that waited
	Kinds []IRQProbeKind `json:"kinds"`
}

// IRQProbeKind is one kind of bottom half under one load.
type IRQProbeKind struct {
	Kind string `json:"kind"` // hard, softirq, tasklet, work or thread
	// Busy says that programs ran on the interrupts' CPU meanwhile, as many as that.
	Busy int `json:"busy"`
	// Raised is the device's own count, Served the handler's runs that were its own, Bottoms the bottom half's.
	Raised  uint64 `json:"raised"`
	Served  uint64 `json:"served"`
	Bottoms uint64 `json:"bottoms"`
	// TopContexts and BottomContexts say where the halves ran, and how often: "hard IRQ", "softirq", "softirq in NAME", or a task's NAME.
	TopContexts    map[string]int `json:"top_contexts"`
	BottomContexts map[string]int `json:"bottom_contexts"`
	// Top is the time from the write that caused the interrupt to its handler, Bottom from there to the bottom half; in ns of the guest's clock.
	Top    IRQProbeTimes `json:"top_ns"`
	Bottom IRQProbeTimes `json:"bottom_ns"`
	// Burst is the same for interrupts that were caused without waiting for each other, of which only counts are kept.
	BurstRaised  uint64 `json:"burst_raised"`
	BurstServed  uint64 `json:"burst_served"`
	BurstBottoms uint64 `json:"burst_bottoms"`
}

// IRQProbeTimes is a distribution.
type IRQProbeTimes struct {
	P50 int64 `json:"p50"`
	P99 int64 `json:"p99"`
	Max int64 `json:"max"`
}
