//go:build lab

package kvm_test

import (
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"doorbell/internal/kvm"

	"golang.org/x/sys/unix"
)

func open(t *testing.T) *kvm.System {
	t.Helper()
	s, err := kvm.Open("/dev/kvm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// machine is a VM with an in-kernel irqchip and one vCPU whose LAPIC is enabled by software.
func machine(t *testing.T) (*kvm.VM, *kvm.VCPU) {
	t.Helper()
	vm, err := open(t).CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.CreateIRQChip(); err != nil {
		t.Fatal(err)
	}
	cpu, err := vm.CreateVCPU(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cpu.Close()
		vm.Close()
	})
	l, err := cpu.LAPIC()
	if err != nil {
		t.Fatal(err)
	}
	const svr, enabled = 0xf0, 1 << 8 // spurious-interrupt vector register (Intel SDM volume 3, 11.9)
	binary.LittleEndian.PutUint32(l.Regs[svr:], enabled|0xff)
	if err := cpu.SetLAPIC(&l); err != nil {
		t.Fatal(err)
	}
	return vm, cpu
}

// requested says whether a vector waits in the LAPIC's IRR.
func requested(t *testing.T, cpu *kvm.VCPU, vector int) bool {
	t.Helper()
	l, err := cpu.LAPIC()
	if err != nil {
		t.Fatal(err)
	}
	const irr = 0x200 // eight registers of 32 vectors, 16 bytes apart
	return binary.LittleEndian.Uint32(l.Regs[irr+vector/32*16:])>>(vector%32)&1 != 0
}

func TestSignalMSI(t *testing.T) {
	vm, cpu := machine(t)
	if requested(t, cpu, 0x51) {
		t.Fatal("the vector waits before it was sent")
	}
	delivered, err := vm.SignalMSI(0xfee00000, 0x51)
	if err != nil || !delivered {
		t.Fatalf("delivered %v, %v", delivered, err)
	}
	if !requested(t, cpu, 0x51) {
		t.Error("vector 0x51 does not wait in the IRR")
	}
	if delivered, err := vm.SignalMSI(0xfee00000|9<<12, 0x52); err == nil && delivered {
		t.Error("a message to APIC 9, which does not exist, was delivered")
	}
}

// A route, an irqfd and an eventfd: the whole way that a device's vector takes.
func TestIRQFDFollowsItsRoute(t *testing.T) {
	vm, cpu := machine(t)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const gsi = 40
	if err := vm.SetGSIRouting([]kvm.Route{
		{Chip: &kvm.ChipRoute{GSI: 4, Chip: kvm.ChipIOAPIC, Pin: 4}},
		{MSI: &kvm.MSIRoute{GSI: gsi, AddressLo: 0xfee00000, Data: 0x61}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := vm.IRQFD(gsi, fd); err != nil {
		t.Fatal(err)
	}
	one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	if _, err := unix.Write(fd, one); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !requested(t, cpu, 0x61) {
		if time.Now().After(deadline) {
			t.Fatal("vector 0x61 does not wait in the IRR")
		}
		runtime.Gosched()
	}
	if err := vm.RemoveIRQFD(gsi, fd); err != nil {
		t.Error(err)
	}
	if _, err := unix.Write(fd, one); err != nil {
		t.Fatal(err)
	}
	var count [8]byte
	if _, err := unix.Read(fd, count[:]); err != nil {
		t.Errorf("the eventfd has nothing to read after its irqfd is gone: %v", err)
	}
}

func TestErrorsNameTheThing(t *testing.T) {
	vm, _ := machine(t)
	err := vm.IRQFD(77777, -1)
	if err == nil || err.Error() != "KVM_IRQFD gsi 77777: bad file descriptor" && err.Error() != "KVM_IRQFD gsi 77777: invalid argument" {
		t.Errorf("error %q", err)
	}
	if !errors.Is(err, unix.EBADF) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v does not wrap its cause", err)
	}
	if err := vm.SetGSIRouting([]kvm.Route{{}}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("an empty route: %v", err)
	}
}

func TestOpenExplains(t *testing.T) {
	for _, path := range []string{"/nonexistent/kvm", "/dev/null"} {
		var ns *kvm.NotSupportedError
		if _, err := kvm.Open(path); !errors.As(err, &ns) || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Open(%s): %v", path, err)
		}
	}
}

// Wrappers stay right while the stack that holds their arguments moves: the kernel must never write to where it was.
func TestIoctlsSurviveStackGrowth(t *testing.T) {
	_, cpu := machine(t)
	want := kvm.Regs{RAX: 0x1122334455667788, R15: 0x99aabbccddeeff00, RFLAGS: 2}
	if err := cpu.SetRegs(&want); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // collections shrink and move stacks meanwhile
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	}()
	defer close(done)
	for depth := range 300 {
		if got := deep(cpu, depth); got.RAX != want.RAX || got.R15 != want.R15 {
			t.Fatalf("depth %d: registers %+v", depth, got)
		}
	}
}

func deep(cpu *kvm.VCPU, n int) kvm.Regs {
	var pad [512]byte
	if n > 0 {
		pad[n%512] = 1
		r := deep(cpu, n-1)
		runtime.KeepAlive(&pad)
		return r
	}
	r, _ := cpu.Regs()
	return r
}

func TestStatsHaveTheKernelsNames(t *testing.T) {
	_, cpu := machine(t)
	s, err := cpu.Stats()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"exits", "io_exits", "mmio_exits", "halt_exits", "irq_exits", "irq_injections"} {
		if v, ok := m[name]; !ok || v != 0 {
			t.Errorf("%s is %d, there %v; want 0 before the vCPU runs", name, v, ok)
		}
	}
}

func TestCapabilities(t *testing.T) {
	caps, err := open(t).Capabilities()
	if err != nil {
		t.Fatal(err)
	}
	if err := caps.CheckRequired(); err != nil {
		t.Error(err)
	}
	for _, c := range caps.All() {
		if c.Present() == (c.Reason != "") {
			t.Errorf("%s: value %d, reason %q", c.Name, c.Value, c.Reason)
		}
	}
	if caps.MaxVCPUs() < 1 {
		t.Errorf("at most %d vCPUs", caps.MaxVCPUs())
	}
}
