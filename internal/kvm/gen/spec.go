package main

type constant struct{ goName, c string }

var constants = []constant{
	{"APIVersion", "KVM_API_VERSION"},
	{"MPStateRunnable", "KVM_MP_STATE_RUNNABLE"},
	{"MPStateUninitialized", "KVM_MP_STATE_UNINITIALIZED"},
	{"MPStateHalted", "KVM_MP_STATE_HALTED"},
	{"MPStateInitReceived", "KVM_MP_STATE_INIT_RECEIVED"},
	{"pitSpeakerDummy", "KVM_PIT_SPEAKER_DUMMY"},
	{"irqfdFlagDeassign", "KVM_IRQFD_FLAG_DEASSIGN"},
	{"irqfdFlagResample", "KVM_IRQFD_FLAG_RESAMPLE"},
	{"ioeventfdFlagDatamatch", "KVM_IOEVENTFD_FLAG_DATAMATCH"},
	{"ioeventfdFlagPIO", "KVM_IOEVENTFD_FLAG_PIO"},
	{"ioeventfdFlagDeassign", "KVM_IOEVENTFD_FLAG_DEASSIGN"},
	{"RoutingIRQChip", "KVM_IRQ_ROUTING_IRQCHIP"},
	{"RoutingMSI", "KVM_IRQ_ROUTING_MSI"},
	{"ChipPICMaster", "KVM_IRQCHIP_PIC_MASTER"},
	{"ChipPICSlave", "KVM_IRQCHIP_PIC_SLAVE"},
	{"ChipIOAPIC", "KVM_IRQCHIP_IOAPIC"},
	{"InternalErrorEmulation", "KVM_INTERNAL_ERROR_EMULATION"},
	{"emulationFailureHasInsn", "KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES"},
	{"SystemEventShutdown", "KVM_SYSTEM_EVENT_SHUTDOWN"},
	{"SystemEventReset", "KVM_SYSTEM_EVENT_RESET"},
	{"SystemEventCrash", "KVM_SYSTEM_EVENT_CRASH"},
	{"ioDirectionOut", "KVM_EXIT_IO_OUT"},
	{"MSRExitReasonInvalid", "KVM_MSR_EXIT_REASON_INVAL"},
	{"vcpuEventNMIPending", "KVM_VCPUEVENT_VALID_NMI_PENDING"},
	{"CPUIDSignificantIndex", "KVM_CPUID_FLAG_SIGNIFCANT_INDEX"},
	{"X2APICUse32BitIDs", "KVM_X2APIC_API_USE_32BIT_IDS"},
	{"X2APICDisableBroadcastQuirk", "KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK"},
	{"CapIRQChip", "KVM_CAP_IRQCHIP"},
	{"CapUserMemory", "KVM_CAP_USER_MEMORY"},
	{"CapVCPUEvents", "KVM_CAP_VCPU_EVENTS"},
	{"CapSetTSSAddr", "KVM_CAP_SET_TSS_ADDR"},
	{"CapExtCPUID", "KVM_CAP_EXT_CPUID"},
	{"CapNrVCPUs", "KVM_CAP_NR_VCPUS"},
	{"CapNrMemslots", "KVM_CAP_NR_MEMSLOTS"},
	{"CapMPState", "KVM_CAP_MP_STATE"},
	{"CapUserNMI", "KVM_CAP_USER_NMI"},
	{"CapIRQRouting", "KVM_CAP_IRQ_ROUTING"},
	{"CapIRQFD", "KVM_CAP_IRQFD"},
	{"CapPIT2", "KVM_CAP_PIT2"},
	{"CapIOEventFD", "KVM_CAP_IOEVENTFD"},
	{"CapSetIdentityMapAddr", "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
	{"CapTSCControl", "KVM_CAP_TSC_CONTROL"},
	{"CapGetTSCKHz", "KVM_CAP_GET_TSC_KHZ"},
	{"CapMaxVCPUs", "KVM_CAP_MAX_VCPUS"},
	{"CapTSCDeadlineTimer", "KVM_CAP_TSC_DEADLINE_TIMER"},
	{"CapSignalMSI", "KVM_CAP_SIGNAL_MSI"},
	{"CapIRQFDResample", "KVM_CAP_IRQFD_RESAMPLE"},
	{"CapReadonlyMem", "KVM_CAP_READONLY_MEM"},
	{"CapSplitIRQChip", "KVM_CAP_SPLIT_IRQCHIP"},
	{"CapIOEventFDAnyLength", "KVM_CAP_IOEVENTFD_ANY_LENGTH"},
	{"CapMaxVCPUID", "KVM_CAP_MAX_VCPU_ID"},
	{"CapX2APICAPI", "KVM_CAP_X2APIC_API"},
	{"CapImmediateExit", "KVM_CAP_IMMEDIATE_EXIT"},
	{"CapX86DisableExits", "KVM_CAP_X86_DISABLE_EXITS"},
	{"CapX86UserSpaceMSR", "KVM_CAP_X86_USER_SPACE_MSR"},
	{"CapHaltPoll", "KVM_CAP_HALT_POLL"},
	{"CapBinaryStatsFD", "KVM_CAP_BINARY_STATS_FD"},
	{"CapExitOnEmulationFailure", "KVM_CAP_EXIT_ON_EMULATION_FAILURE"},
	{"devTypeVFIO", "KVM_DEV_TYPE_VFIO"},
	{"devVFIOGroup", "KVM_DEV_VFIO_GROUP"},
	{"devVFIOGroupAdd", "KVM_DEV_VFIO_GROUP_ADD"},
	{"devVFIOGroupDel", "KVM_DEV_VFIO_GROUP_DEL"},
	{"statsTypeMask", "KVM_STATS_TYPE_MASK"},
}

// requests are the ioctls that doorbell wraps.
var requests = []string{
	"KVM_GET_API_VERSION", "KVM_CREATE_VM", "KVM_CHECK_EXTENSION", "KVM_GET_VCPU_MMAP_SIZE", "KVM_GET_SUPPORTED_CPUID",
	"KVM_SET_USER_MEMORY_REGION", "KVM_SET_TSS_ADDR", "KVM_SET_IDENTITY_MAP_ADDR", "KVM_CREATE_IRQCHIP", "KVM_CREATE_PIT2",
	"KVM_IRQ_LINE", "KVM_SET_GSI_ROUTING", "KVM_IRQFD", "KVM_IOEVENTFD", "KVM_SIGNAL_MSI", "KVM_CREATE_VCPU", "KVM_ENABLE_CAP",
	"KVM_GET_STATS_FD", "KVM_RUN", "KVM_GET_REGS", "KVM_SET_REGS", "KVM_GET_SREGS", "KVM_SET_SREGS", "KVM_SET_CPUID2",
	"KVM_SET_MSRS", "KVM_GET_LAPIC", "KVM_SET_LAPIC", "KVM_GET_MP_STATE", "KVM_SET_MP_STATE", "KVM_TRANSLATE", "KVM_NMI",
	"KVM_INTERRUPT", "KVM_GET_VCPU_EVENTS", "KVM_SET_VCPU_EVENTS", "KVM_GET_DEBUGREGS", "KVM_SET_DEBUGREGS",
	"KVM_GET_TSC_KHZ", "KVM_CREATE_DEVICE", "KVM_SET_DEVICE_ATTR",
}

// field is one member: its Go name, its C designator (which may reach into unions), and, where an integer of its size is
// not what is wanted, its Go type or the size of its array's elements.
type field struct {
	goName, c string
	typ       string
	elem      int
}

// cstruct is one struct of the ABI. A foreign one is not printed: another module defines it, and only the test needs its layout.
type cstruct struct {
	goName, c, doc string
	fields         []field
	foreign        bool
}

var structs = []cstruct{
	{goName: "UserspaceMemoryRegion", c: "struct kvm_userspace_memory_region", doc: "one slot of guest memory.", fields: []field{
		{goName: "Slot", c: "slot"}, {goName: "Flags", c: "flags"}, {goName: "GuestPhysAddr", c: "guest_phys_addr"},
		{goName: "MemorySize", c: "memory_size"}, {goName: "UserspaceAddr", c: "userspace_addr"}}},
	{goName: "runHeader", c: "struct kvm_run", doc: "the page shared between a vCPU and its thread, up to the union.", fields: []field{
		{goName: "requestInterruptWindow", c: "request_interrupt_window"}, {goName: "immediateExit", c: "immediate_exit"},
		{goName: "exitReason", c: "exit_reason"}, {goName: "readyForInterruptInjection", c: "ready_for_interrupt_injection"},
		{goName: "ifFlag", c: "if_flag"}, {goName: "flags", c: "flags"}, {goName: "cr8", c: "cr8"}, {goName: "apicBase", c: "apic_base"},
		{goName: "union", c: "padding", elem: 1}}},
	{goName: "IRQLevel", c: "struct kvm_irq_level", doc: "a GSI and the level to drive it to.", fields: []field{
		{goName: "GSI", c: "irq"}, {goName: "Level", c: "level"}}},
	{goName: "MSI", c: "struct kvm_msi", doc: "a message to inject at once.", fields: []field{
		{goName: "AddressLo", c: "address_lo"}, {goName: "AddressHi", c: "address_hi"}, {goName: "Data", c: "data"},
		{goName: "Flags", c: "flags"}, {goName: "DevID", c: "devid"}}},
	{goName: "MSIRoute", c: "struct kvm_irq_routing_entry", doc: "a route from a GSI to a message.", fields: []field{
		{goName: "GSI", c: "gsi"}, {goName: "Type", c: "type"}, {goName: "Flags", c: "flags"}, {goName: "AddressLo", c: "u.msi.address_lo"},
		{goName: "AddressHi", c: "u.msi.address_hi"}, {goName: "Data", c: "u.msi.data"}, {goName: "DevID", c: "u.msi.devid"}}},
	{goName: "ChipRoute", c: "struct kvm_irq_routing_entry", doc: "a route from a GSI to a pin of an in-kernel chip.", fields: []field{
		{goName: "GSI", c: "gsi"}, {goName: "Type", c: "type"}, {goName: "Flags", c: "flags"}, {goName: "Chip", c: "u.irqchip.irqchip"},
		{goName: "Pin", c: "u.irqchip.pin"}}},
	{goName: "irqfd", c: "struct kvm_irqfd", doc: "an eventfd that raises a GSI.", fields: []field{
		{goName: "FD", c: "fd"}, {goName: "GSI", c: "gsi"}, {goName: "Flags", c: "flags"}, {goName: "ResampleFD", c: "resamplefd"}}},
	{goName: "ioeventfd", c: "struct kvm_ioeventfd", doc: "an eventfd that a guest's write signals.", fields: []field{
		{goName: "Datamatch", c: "datamatch"}, {goName: "Addr", c: "addr"}, {goName: "Len", c: "len"}, {goName: "FD", c: "fd", typ: "int32"},
		{goName: "Flags", c: "flags"}}},
	{goName: "pitConfig", c: "struct kvm_pit_config", doc: "the in-kernel 8254's options.", fields: []field{{goName: "Flags", c: "flags"}}},
	{goName: "enableCap", c: "struct kvm_enable_cap", doc: "a capability to switch on, with its arguments.", fields: []field{
		{goName: "Cap", c: "cap"}, {goName: "Flags", c: "flags"}, {goName: "Args", c: "args", elem: 8}}},
	{goName: "CPUIDEntry", c: "struct kvm_cpuid_entry2", doc: "one leaf or subleaf of CPUID as the guest will see it.", fields: []field{
		{goName: "Function", c: "function"}, {goName: "Index", c: "index"}, {goName: "Flags", c: "flags"}, {goName: "EAX", c: "eax"},
		{goName: "EBX", c: "ebx"}, {goName: "ECX", c: "ecx"}, {goName: "EDX", c: "edx"}}},
	{goName: "MSREntry", c: "struct kvm_msr_entry", doc: "one model-specific register.", fields: []field{
		{goName: "Index", c: "index"}, {goName: "Data", c: "data"}}},
	{goName: "LAPICState", c: "struct kvm_lapic_state", doc: "a local APIC's register page.", fields: []field{{goName: "Regs", c: "regs", elem: 1}}},
	{goName: "mpState", c: "struct kvm_mp_state", doc: "whether a vCPU runs, halts or waits for INIT and SIPI.", fields: []field{{goName: "State", c: "mp_state"}}},
	{goName: "interrupt", c: "struct kvm_interrupt", doc: "a vector to inject.", fields: []field{{goName: "Vector", c: "irq"}}},
	{goName: "vcpuEvents", c: "struct kvm_vcpu_events", doc: "what waits to be delivered to a vCPU.", fields: []field{
		{goName: "ExceptionInjected", c: "exception.injected"}, {goName: "ExceptionNr", c: "exception.nr"}, {goName: "ExceptionHasErrorCode", c: "exception.has_error_code"},
		{goName: "ExceptionPending", c: "exception.pending"}, {goName: "ExceptionErrorCode", c: "exception.error_code"},
		{goName: "InterruptInjected", c: "interrupt.injected"}, {goName: "InterruptNr", c: "interrupt.nr"}, {goName: "InterruptSoft", c: "interrupt.soft"},
		{goName: "InterruptShadow", c: "interrupt.shadow"}, {goName: "NMIInjected", c: "nmi.injected"}, {goName: "NMIPending", c: "nmi.pending"},
		{goName: "NMIMasked", c: "nmi.masked"}, {goName: "SIPIVector", c: "sipi_vector"}, {goName: "Flags", c: "flags"}}},
	{goName: "debugRegs", c: "struct kvm_debugregs", doc: "the debug registers.", fields: []field{
		{goName: "DB", c: "db", elem: 8}, {goName: "DR6", c: "dr6"}, {goName: "DR7", c: "dr7"}, {goName: "Flags", c: "flags"}}},
	{goName: "translation", c: "struct kvm_translation", doc: "a guest-virtual address and what its page tables make of it.", fields: []field{
		{goName: "LinearAddress", c: "linear_address"}, {goName: "PhysicalAddress", c: "physical_address"}, {goName: "Valid", c: "valid"}}},
	{goName: "createDevice", c: "struct kvm_create_device", doc: "a device of KVM's own to make.", fields: []field{
		{goName: "Type", c: "type"}, {goName: "FD", c: "fd"}, {goName: "Flags", c: "flags"}}},
	{goName: "deviceAttr", c: "struct kvm_device_attr", doc: "an attribute of such a device.", fields: []field{
		{goName: "Flags", c: "flags"}, {goName: "Group", c: "group"}, {goName: "Attr", c: "attr"}, {goName: "Addr", c: "addr"}}},
	{goName: "statsHeader", c: "struct kvm_stats_header", doc: "the head of a statistics descriptor's file.", fields: []field{
		{goName: "Flags", c: "flags"}, {goName: "NameSize", c: "name_size"}, {goName: "NumDesc", c: "num_desc"}, {goName: "IDOffset", c: "id_offset"},
		{goName: "DescOffset", c: "desc_offset"}, {goName: "DataOffset", c: "data_offset"}}},
	{goName: "statsDesc", c: "struct kvm_stats_desc", doc: "one statistic's description, before its name.", fields: []field{
		{goName: "Flags", c: "flags"}, {goName: "Exponent", c: "exponent"}, {goName: "Size", c: "size"}, {goName: "Offset", c: "offset"},
		{goName: "BucketSize", c: "bucket_size"}}},

	// Types of gokvm that are right; the test keeps them so.
	{goName: "Regs", c: "struct kvm_regs", foreign: true, fields: []field{
		{goName: "RAX", c: "rax"}, {goName: "RSI", c: "rsi"}, {goName: "RDI", c: "rdi"}, {goName: "RSP", c: "rsp"}, {goName: "R15", c: "r15"},
		{goName: "RIP", c: "rip"}, {goName: "RFLAGS", c: "rflags"}}},
	{goName: "Segment", c: "struct kvm_segment", foreign: true, fields: []field{
		{goName: "Base", c: "base"}, {goName: "Limit", c: "limit"}, {goName: "Selector", c: "selector"}, {goName: "Typ", c: "type"},
		{goName: "Present", c: "present"}, {goName: "DPL", c: "dpl"}, {goName: "DB", c: "db"}, {goName: "S", c: "s"}, {goName: "L", c: "l"},
		{goName: "G", c: "g"}, {goName: "AVL", c: "avl"}, {goName: "Unusable", c: "unusable"}}},
	{goName: "Descriptor", c: "struct kvm_dtable", foreign: true, fields: []field{{goName: "Base", c: "base"}, {goName: "Limit", c: "limit"}}},
	{goName: "Sregs", c: "struct kvm_sregs", foreign: true, fields: []field{
		{goName: "CS", c: "cs"}, {goName: "SS", c: "ss"}, {goName: "TR", c: "tr"}, {goName: "LDT", c: "ldt"}, {goName: "GDT", c: "gdt"},
		{goName: "IDT", c: "idt"}, {goName: "CR0", c: "cr0"}, {goName: "CR3", c: "cr3"}, {goName: "CR4", c: "cr4"}, {goName: "EFER", c: "efer"},
		{goName: "ApicBase", c: "apic_base"}, {goName: "InterruptBitmap", c: "interrupt_bitmap"}}},
}
