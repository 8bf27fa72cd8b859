// Package vmm is one virtual machine: New builds it from a Config, Run lets its guest run to its end and returns the account of
// what that cost, Close releases it.
//
// It owns the address map (Bus), the wiring of devices and interrupt lines, and the lifecycle; what a register does is the
// devices' business, and what an interrupt controller does irqchip's. New raises GOMAXPROCS of the whole process, since each vCPU
// keeps a processor of Go's scheduler busy.
//
//	m, err := vmm.New(vmm.Config{Kernel: "vmlinuz", Initrd: "initrd", Cmdline: "console=ttyS0", Memory: 512 << 20, VCPUs: 2,
//		IRQChip: "kernel", Output: os.Stdout})
//	...
//	defer m.Close()
//	result, err := m.Run(ctx)
package vmm
