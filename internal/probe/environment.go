package probe

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"doorbell/internal/kvm"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// Host describes the environment, asking KVM for its capabilities where there is one.
func Host() Environment {
	e := Environment{
		Backend: kvm.Backend(), Kernel: release(), CPU: cpuinfo("model name"), CPUs: runtime.NumCPU(),
		Hypervisor: hypervisor(), Capabilities: map[string]int{},
		Mitigations: bootParameter("mitigations"), TransparentHugePage: selected("/sys/kernel/mm/transparent_hugepage/enabled"),
		Doorbell: version(),
	}
	e.Emulated, e.EmulatedWhy = emulated(e.Hypervisor)
	e.APICVirtualized, e.APICEvidence = kvm.VirtualizesAPIC()
	if e.APICVirtualized {
		e.APICEvidence = kvm.APICParameter() + " says so"
	}
	e.Vulnerabilities = vulnerabilities("/sys/devices/system/cpu/vulnerabilities")
	if n, err := strconv.ParseInt(readLine("/sys/module/kvm/parameters/halt_poll_ns"), 10, 64); err == nil {
		e.HaltPollNs = &n
	}
	if sys, err := kvm.Open(kvm.Device); err == nil {
		defer sys.Close()
		if caps, err := sys.Capabilities(); err == nil {
			for _, c := range caps.All() {
				e.Capabilities[c.Name] = c.Value
			}
		}
	}
	return e
}

// hypervisor is the signature in CPUID leaf 0x40000000, which says something only where the processor says that there is a hypervisor: a real one, and
// one that Bochs interprets, answers for the last leaf that it has.
func hypervisor() string {
	if !cpuFlag("hypervisor") {
		return ""
	}
	return strings.TrimRight(cpuid.CPU.HypervisorVendorString, "\x00")
}

// bochsFirmware says whether the firmware's tables are those of Bochs's BIOS: OEM "BOCHS ", table "BXPCFACP" (QEMU's have "BXPC    ").
func bochsFirmware(facp string) bool {
	b, err := os.ReadFile(facp)
	return err == nil && len(b) >= 24 && string(b[10:24]) == "BOCHS BXPCFACP"
}

// emulated tells whether a CPU emulator interprets this host's instructions, by the signature that it gives in CPUID leaf
// 0x40000000, or by its name for the processor.
func emulated(signature string) (bool, string) {
	if strings.HasPrefix(signature, "TCG") {
		return true, "CPUID leaf 0x40000000 says " + signature + ": QEMU's emulation"
	}
	for _, m := range []string{"QEMU TCG", "QEMU Virtual CPU"} {
		if strings.Contains(cpuinfo("model name"), m) {
			return true, "/proc/cpuinfo names the processor " + m
		}
	}
	if signature != "" {
		return false, "CPUID leaf 0x40000000 says " + signature + ", a hypervisor on real hardware"
	}
	const facp = "/sys/firmware/acpi/tables/FACP"
	if bochsFirmware(facp) {
		return true, facp + " is Bochs's, and CPUID names no hypervisor: Bochs's emulation"
	}
	return false, "CPUID names no hypervisor"
}

// cpuinfo is the first value of a key in /proc/cpuinfo.
func cpuinfo(key string) string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func cpuFlag(name string) bool {
	for _, f := range strings.Fields(cpuinfo("flags")) {
		if f == name {
			return true
		}
	}
	return false
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// bootParameter is the value of name= on this host's kernel command line.
func bootParameter(name string) string {
	for _, w := range strings.Fields(readLine("/proc/cmdline")) {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
	}
	return ""
}

// vulnerabilities reads the kernel's list, a file for each (Documentation/ABI/testing/sysfs-devices-system-cpu).
func vulnerabilities(dir string) map[string]string {
	all := map[string]string{}
	for _, path := range glob(filepath.Join(dir, "*")) {
		all[filepath.Base(path)] = readLine(path)
	}
	return all
}

// selected is the bracketed word of a sysfs file that lists its choices.
func selected(path string) string {
	for _, w := range strings.Fields(readLine(path)) {
		if strings.HasPrefix(w, "[") {
			return strings.Trim(w, "[]")
		}
	}
	return ""
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func glob(pattern string) []string {
	m, _ := filepath.Glob(pattern)
	return m
}

// version is the revision that this binary was built from, where the build recorded one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}
