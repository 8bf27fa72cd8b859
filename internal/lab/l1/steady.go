package l1

import (
	"errors"
	"os"

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
// about once in two hundred flips. With these machines in place nothing flips any more.
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
