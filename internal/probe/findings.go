package probe

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/vfio/sysfs"

	"golang.org/x/sys/unix"
)

// Findings asks this host everything. It changes nothing outside machines that it makes and closes at once.
func Findings() Report {
	r := Report{Environment: Host()}
	r.add(hardware(), device())
	if err := r.askKVM(); err != nil {
		r.withoutKVM(err)
	}
	remaps, err := sysfs.Host{}.Remapping()
	r.add(apicv(), tracing(), vfio(), iommu(remaps, err), remapping(remaps, err), postedByIOMMU(remaps, err), hugepages())
	return r
}

// askKVM adds what only KVM can answer.
func (r *Report) askKVM() error {
	sys, err := kvm.Open(kvm.Device)
	if err != nil {
		return err
	}
	defer sys.Close()
	caps, err := sys.Capabilities()
	if err != nil {
		return err
	}
	r.add(linuxGuests(), vcpus(caps), kernelIRQChip(sys, caps), splitIRQChip(sys, caps), userIRQChip(sys), irqfd(sys, caps), ioeventfd(sys, caps),
		signalMSI(caps), statistics(caps))
	return nil
}

// withoutKVM adds the same lines where KVM cannot be asked: no, if there is none; unknown, if this user may not.
func (r *Report) withoutKVM(err error) {
	answer := Unknown
	if kvm.Backend() == "none" {
		answer = No
	}
	for _, f := range []Finding{
		{Name: "linux_guests", Title: "runs stock Linux"}, {Name: "max_vcpus", Title: "vCPUs per machine"},
		{Name: "irqchip_kernel", Title: "irqchip in the kernel"}, {Name: "irqchip_split", Title: "irqchip split"},
		{Name: "irqchip_user", Title: "irqchip in userspace"}, {Name: "irqfd", Title: "interrupts by eventfd (irqfd)"},
		{Name: "ioeventfd", Title: "doorbells by eventfd (ioeventfd)"}, {Name: "signal_msi", Title: "MSI injection by ioctl"},
		{Name: "kvm_statistics", Title: "KVM's own statistics"},
	} {
		f.Answer, f.Evidence = answer, "KVM cannot be asked: "+reason(err)
		r.add(f)
	}
}

func (r *Report) add(f ...Finding) { r.Findings = append(r.Findings, f...) }

func hardware() Finding {
	f := Finding{Name: "hardware_virtualization", Title: "hardware virtualization", Answer: Yes}
	switch {
	case cpuFlag("vmx"):
		f.Value, f.Evidence = "VT-x", "flag vmx in /proc/cpuinfo"
	case cpuFlag("svm"):
		f.Value, f.Evidence = "AMD-V", "flag svm in /proc/cpuinfo"
	default:
		f.Answer, f.Evidence = No, "neither vmx nor svm among the flags in /proc/cpuinfo"
		f.Advice = "enable it in the firmware, or nested virtualization in the hypervisor below; `doorbell lab` emulates a host that has it"
	}
	return f
}

func device() Finding {
	f := Finding{Name: "kvm", Title: "KVM device", Answer: Yes, Value: kvm.Backend()}
	sys, err := kvm.Open(kvm.Device)
	if err != nil {
		f.Answer, f.Evidence = No, reason(err)
		return f
	}
	sys.Close()
	f.Evidence = fmt.Sprintf("%s opens and speaks API version %d; module %s is loaded", kvm.Device, kvm.APIVersion, kvm.Backend())
	return f
}

func linuxGuests() Finding {
	f := Finding{Name: "linux_guests", Title: "runs stock Linux", Answer: Yes, Evidence: "a 64-bit guest ran popcnt and cmpxchg16b and answered right"}
	if err := UsableKVM(); err != nil {
		f.Answer, f.Evidence = No, reason(err)
		f.Advice = "doorbell boot and measure run themselves in the lab here"
	}
	return f
}

func vcpus(caps *kvm.Capabilities) Finding {
	return Finding{Name: "max_vcpus", Title: "vCPUs per machine", Answer: Yes, Value: strconv.Itoa(caps.MaxVCPUs()),
		Evidence: fmt.Sprintf("KVM_CAP_MAX_VCPUS is %d, KVM_CAP_NR_VCPUS recommends %d", caps.Value(kvm.CapMaxVCPUs), caps.Value(kvm.CapNrVCPUs))}
}

// tryVM runs try on an empty machine.
func tryVM(sys *kvm.System, try func(*kvm.VM) error) error {
	vm, err := sys.CreateVM()
	if err != nil {
		return err
	}
	return errors.Join(try(vm), vm.Close())
}

func kernelIRQChip(sys *kvm.System, caps *kvm.Capabilities) Finding {
	f := Finding{Name: "irqchip_kernel", Title: "irqchip in the kernel", Answer: Yes, Evidence: "KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2 made one"}
	err := caps.Require(kvm.CapIRQChip)
	if err == nil {
		err = tryVM(sys, func(vm *kvm.VM) error {
			if err := vm.CreateIRQChip(); err != nil {
				return err
			}
			return vm.CreatePIT()
		})
	}
	return f.unless(err)
}

func splitIRQChip(sys *kvm.System, caps *kvm.Capabilities) Finding {
	f := Finding{Name: "irqchip_split", Title: "irqchip split", Answer: Yes, Evidence: "KVM_CAP_SPLIT_IRQCHIP was switched on for 24 pins"}
	err := caps.Require(kvm.CapSplitIRQChip)
	if err == nil {
		err = tryVM(sys, func(vm *kvm.VM) error { return vm.EnableCap(kvm.CapSplitIRQChip, 24) })
	}
	return f.unless(err)
}

// userIRQChip needs nothing but a vCPU that KVM makes without its own LAPIC; interrupts then go in by KVM_INTERRUPT.
func userIRQChip(sys *kvm.System) Finding {
	f := Finding{Name: "irqchip_user", Title: "irqchip in userspace", Answer: Yes, Evidence: "KVM_CREATE_VCPU made a vCPU without an in-kernel LAPIC"}
	return f.unless(tryVM(sys, func(vm *kvm.VM) error {
		cpu, err := vm.CreateVCPU(0)
		if err != nil {
			return err
		}
		return cpu.Close()
	}))
}

func irqfd(sys *kvm.System, caps *kvm.Capabilities) Finding {
	f := Finding{Name: "irqfd", Title: "interrupts by eventfd (irqfd)", Answer: Yes, Evidence: "KVM_IRQFD bound an eventfd to GSI 4"}
	err := caps.Require(kvm.CapIRQFD)
	if err == nil {
		err = tryVM(sys, func(vm *kvm.VM) error {
			if err := vm.CreateIRQChip(); err != nil {
				return err
			}
			return withEventFD(func(fd int) error { return vm.IRQFD(4, fd) })
		})
	}
	if caps.Value(kvm.CapIRQFDResample) > 0 {
		f.Value, f.Evidence = "edge and level", f.Evidence+"; KVM_CAP_IRQFD_RESAMPLE for level interrupts"
	} else {
		f.Value = "edge only"
	}
	return f.unless(err)
}

func ioeventfd(sys *kvm.System, caps *kvm.Capabilities) Finding {
	f := Finding{Name: "ioeventfd", Title: "doorbells by eventfd (ioeventfd)", Answer: Yes, Evidence: "KVM_IOEVENTFD bound an eventfd to an address"}
	err := caps.Require(kvm.CapIOEventFD)
	if err == nil {
		err = tryVM(sys, func(vm *kvm.VM) error {
			return withEventFD(func(fd int) error { return vm.IOEventFD(kvm.IOEvent{Addr: 0xd0000000, Length: 4}, fd) })
		})
	}
	return f.unless(err)
}

func withEventFD(use func(fd int) error) error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return use(fd)
}

func signalMSI(caps *kvm.Capabilities) Finding {
	return Finding{Name: "signal_msi", Title: "MSI injection by ioctl", Answer: Yes, Evidence: "KVM_CAP_SIGNAL_MSI"}.unless(caps.Require(kvm.CapSignalMSI))
}

func statistics(caps *kvm.Capabilities) Finding {
	return Finding{Name: "kvm_statistics", Title: "KVM's own statistics", Answer: Yes, Evidence: "KVM_CAP_BINARY_STATS_FD"}.unless(caps.Require(kvm.CapBinaryStatsFD))
}

// apicv reads the module's parameter, which says what is available; what a machine uses can be less (KVM inhibits it for a
// machine that does something the hardware cannot).
func apicv() Finding {
	f := Finding{Name: "apicv", Title: "APIC virtualization (APICv, AVIC)", Answer: Yes}
	path := kvm.APICParameter()
	if path == "" {
		f.Answer, f.Evidence = No, "neither kvm_intel nor kvm_amd is behind "+kvm.Device
		return f
	}
	switch v := readLine(path); v {
	case "Y", "1":
		f.Evidence = path + " is " + v + ": available; a machine can still inhibit it"
	case "":
		f.Answer, f.Evidence = Unknown, path+" is not readable"
	default:
		f.Answer, f.Evidence = No, path+" is "+v
	}
	return f
}

func tracing() Finding {
	f := Finding{Name: "tracing", Title: "exits by hardware reason", Answer: Yes}
	root, err := kvmtrace.Find()
	f.Evidence = root + "/events/kvm/kvm_exit takes a histogram trigger"
	f = f.unless(err)
	if err != nil {
		f.Advice = "without it the report has KVM's own classes of exits"
	}
	return f
}

func vfio() Finding {
	f := Finding{Name: "vfio", Title: "VFIO", Answer: Yes, Value: "type1"}
	groups := len(glob("/sys/kernel/iommu_groups/*"))
	switch {
	case !exists("/dev/vfio/vfio"):
		f.Answer, f.Value, f.Evidence, f.Advice = No, "", "/dev/vfio/vfio does not exist", "modprobe vfio-pci"
	case groups == 0:
		f.Answer, f.Evidence = Partly, "/dev/vfio/vfio exists, but /sys/kernel/iommu_groups is empty: no IOMMU isolates a device"
	default:
		f.Evidence = fmt.Sprintf("/dev/vfio/vfio exists, %d groups in /sys/kernel/iommu_groups", groups)
		if exists("/dev/iommu") {
			f.Value = "type1 and iommufd"
		}
	}
	return f
}

// iommu says for each unit what it can do, where it shows that.
func iommu(r sysfs.Remapping, err error) Finding {
	f := Finding{Name: "iommu", Title: "IOMMU", Answer: Yes}
	switch {
	case err != nil:
		f.Answer, f.Evidence = Unknown, err.Error()
		return f
	case len(r.IOMMUs) == 0:
		f.Answer, f.Evidence = No, "/sys/class/iommu is empty"
		f.Advice = "intel_iommu=on or amd_iommu=on on the host's command line, and VT-d or AMD-Vi in the firmware"
		return f
	}
	var units []string
	for _, u := range r.IOMMUs {
		units = append(units, fmt.Sprintf("%s (remaps interrupts: %s, to x2APIC IDs: %s, posts: %s)", u.Name, known(u.Interrupts), known(u.X2APIC), known(u.Posting)))
	}
	f.Value, f.Evidence = plural(len(units), "unit"), strings.Join(units, ", ")
	return f
}

// known is what is known of a feature.
func known(v *bool) Answer {
	switch {
	case v == nil:
		return Unknown
	case *v:
		return Yes
	}
	return No
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// remapping looks at what is in use: the interrupt chips behind the host's own vectors.
func remapping(r sysfs.Remapping, err error) Finding {
	f := Finding{Name: "interrupt_remapping", Title: "interrupt remapping", Answer: No}
	switch f.Evidence = r.Evidence; {
	case err != nil:
		f.Answer, f.Evidence = Unknown, err.Error()
	case r.On:
		f.Answer = Yes
	default:
		f.Advice = "without it doorbell passes no device through, unless --unsafe-interrupts says so"
	}
	return f
}

func postedByIOMMU(r sysfs.Remapping, err error) Finding {
	f := Finding{Name: "iommu_posting", Title: "device interrupts posted by the IOMMU", Answer: No, Evidence: "no IOMMU says that it posts"}
	if err != nil {
		f.Answer, f.Evidence = Unknown, err.Error()
		return f
	}
	for _, u := range r.IOMMUs {
		if u.Posting != nil && *u.Posting {
			f.Answer, f.Evidence = Yes, u.Name+"'s capability register says so"
		}
	}
	return f
}

func hugepages() Finding {
	const path = "/sys/kernel/mm/transparent_hugepage/enabled"
	f := Finding{Name: "hugepages", Title: "transparent huge pages for guest memory", Answer: Yes, Value: selected(path), Evidence: path}
	switch f.Value {
	case "":
		f.Answer, f.Evidence = Unknown, path+" is not readable"
	case "never":
		f.Answer, f.Advice = No, "echo madvise > "+path+": without them a guest takes many more page faults"
	}
	return f
}

// unless turns a finding into its opposite where err says why.
func (f Finding) unless(err error) Finding {
	if err != nil {
		f.Answer, f.Value, f.Evidence = No, "", reason(err)
	}
	return f
}

// reason is an error's own words; of a feature's absence, only why.
func reason(err error) string {
	var ns *kvm.NotSupportedError
	if errors.As(err, &ns) {
		return ns.Reason
	}
	return err.Error()
}
