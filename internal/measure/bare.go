package measure

import (
	"errors"
	"fmt"

	"doorbell/internal/kvm"
	"doorbell/vcpu"
)

// bench is what experiments with bare guests work with: KVM, and places for threads.
type bench struct {
	sys  *kvm.System
	cpus *processors
}

// openBench opens KVM and moves this process's threads; close undoes both.
func openBench() (*bench, error) {
	sys, err := kvm.Open(kvm.Device)
	if err != nil {
		return nil, err
	}
	cpus, err := takeProcessors()
	if err != nil {
		sys.Close()
		return nil, err
	}
	return &bench{sys, cpus}, nil
}

func (b *bench) close() error {
	err := b.cpus.give()
	b.sys.Close()
	return err
}

// countable is the error for a vCPU whose exits the kernel does not count.
func countable(c *vcpu.CPU) error {
	if c.Stats() == nil {
		return &kvm.NotSupportedError{Feature: "counting exits", Reason: "KVM_GET_STATS_FD needs Linux 5.14 or newer"}
	}
	return nil
}

// exitsOf is how many exits a vCPU has had so far.
func exitsOf(c *vcpu.CPU) (uint64, error) {
	all, err := c.Stats().Read()
	return all["exits"], err
}

// halt takes a bare guest's vCPUs out of it; the error is for one that had crashed.
func halt(cpus ...*vcpu.CPU) (err error) {
	for _, c := range cpus {
		c.Stop()
	}
	for _, c := range cpus {
		if s := <-c.Stopped(); s.Crashed() {
			err = errors.Join(err, fmt.Errorf("the guest ended: %v", s))
		}
	}
	return err
}
