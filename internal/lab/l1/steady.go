package l1

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"doorbell/internal/kvm"
)

// steady keeps KVM in the state that it has while a guest runs, for as long as
// L1 lives: it makes two machines that never run.
//
// With a host's first machine and its first vCPU, with the first vCPU without an
// in-kernel LAPIC, and again with the last of each, Linux flips static keys: it
// patches code that the other processors are running, such as the scheduler's.
// Real processors take that; QEMU 7.2's emulation may go on running a stale
// copy that holds a breakpoint, and L1 hangs with both processors at work. It was seen
// about once in two hundred flips. With these machines in place nothing flips any more, and
// while they are made there is one processor only, which cannot be caught out.
//
// A host without KVM, or whose command needs none, is not less of a host: the
// caller may ignore the error.
func steady() (err error) {
	_ = os.WriteFile("/sys/kernel/tracing/options/record-cmd", []byte("0"), 0) // a kernel without tracing does not need it
	system, err := kvm.Open("/dev/kvm")
	if err != nil {
		return err
	}
	// What is made here stays open; L1's end releases it.
	for _, chip := range []bool{true, false} {
		vm, e := system.CreateVM()
		if e == nil && chip {
			e = vm.CreateIRQChip()
		}
		if e == nil {
			_, e = vm.CreateVCPU(0)
		}
		err = errors.Join(err, e)
	}
	return err
}

// FirstCPUOnly is what the lab adds to L1's kernel command line: everything
// that patches the kernel while it boots is over before there is a second
// processor to run a stale copy (see steady). noreplace-smp saves patching the
// lock prefixes out and in again.
const FirstCPUOnly = "maxcpus=1 noreplace-smp"

// startCPUs brings up the processors that FirstCPUOnly has left out.
func startCPUs() error {
	switches, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/online") // the first processor has none
	if err != nil {
		return err
	}
	for _, s := range switches {
		if err := os.WriteFile(s, []byte("1"), 0); err != nil {
			return fmt.Errorf("start a processor: %w", err)
		}
	}
	return nil
}
