package probe

// Answer is how far a host has a thing.
type Answer string

// The answers. Unknown is for what this user is not allowed to see.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Partly  Answer = "partly"
	Unknown Answer = "unknown"
)

// Finding is one thing that the host can or cannot do.
type Finding struct {
	Name     string `json:"name"` // a key that scripts can rely on
	Title    string `json:"title"`
	Answer   Answer `json:"answer"`
	Value    string `json:"value,omitempty"`
	Evidence string `json:"evidence"`         // how this is known
	Advice   string `json:"advice,omitempty"` // what to do about it
}

// Environment is where numbers were taken: it heads every report.
type Environment struct {
	Backend     string `json:"backend"`  // "kvm-amd", "kvm-intel", "kvm-pvm", "none"
	Emulated    bool   `json:"emulated"` // a CPU emulator is underneath: counts are exact, times are not
	EmulatedWhy string `json:"emulated_evidence"`
	Hypervisor  string `json:"hypervisor,omitempty"` // the signature of the hypervisor that this host runs on
	Kernel      string `json:"kernel"`
	CPU         string `json:"cpu"`
	CPUs        int    `json:"cpus"`
	Mitigations string `json:"mitigations,omitempty"`
	// Vulnerabilities are the processor's as the kernel knows them, with what it does about each.
	Vulnerabilities map[string]string `json:"vulnerabilities"`
	// APICVirtualized says whether KVM has the processor virtualize local APICs (APICv, AVIC), and APICEvidence how that is known.
	APICVirtualized     bool           `json:"apic_virtualized"`
	APICEvidence        string         `json:"apic_evidence"`
	HaltPollNs          *int64         `json:"halt_poll_ns"`
	TransparentHugePage string         `json:"transparent_hugepage,omitempty"`
	Capabilities        map[string]int `json:"capabilities"`
	Doorbell            string         `json:"doorbell_version"`
}

// Report is everything that was found.
type Report struct {
	Environment Environment `json:"environment"`
	Findings    []Finding   `json:"findings"`
}
