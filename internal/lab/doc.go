// Package lab runs a command on an emulated machine that has KVM hardware.
//
// Where /dev/kvm is missing or cannot run Linux, Run starts QEMU's software
// emulation of an AMD processor with SVM and nested paging (TCG), boots Linux
// on it, and runs the command there. That machine is called L1; what the
// command starts by KVM is L2. The command does not notice much: its files,
// arguments and environment are there, its output, exit status and written
// files come back, and signals reach it.
//
// The package has two halves in one binary. The host half, this package, is
// Run. The guest half, package l1, is L1's /init: a main function that starts
// with
//
//	if lab.IsInit() {
//		lab.Init()
//	}
//
// makes its own binary able to be both, so nothing else has to be built or
// installed into L1. They speak the protocol of package wire.
//
// A run leaves no temporary files: L1's initramfs is a memory file, the
// channel is a socket pair, and both are handed to QEMU as open descriptors.
//
// Which files hold what:
//
//   - config.go, run.go: what callers use
//   - plan.go, arguments.go, tree.go, image.go: what travels into L1
//   - qemu.go: how QEMU is found and started, and nothing else
//   - session.go, stdin.go, signals.go, terminal.go, writeback.go: one run's
//     conversation
//   - console.go, progress.go: what the user is told
package lab
