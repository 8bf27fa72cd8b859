package probe

import (
	"fmt"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/tinyguest"
	"doorbell/vcpu"
)

// UsableKVM is nil where this host's KVM can boot a stock Linux. Otherwise the error is one line that says what is wrong.
//
// A /dev/kvm that answers is not enough: a backend for paravirtual guests (PVM) runs on processors without VT-x or SVM and
// emulates what other guests do in ring 0, with many instructions missing. So a few of them are run.
func UsableKVM() error {
	sys, err := kvm.Open(kvm.Device)
	if err != nil {
		return err
	}
	defer sys.Close()
	caps, err := sys.Capabilities()
	if err != nil {
		return err
	}
	if err := caps.CheckRequired(); err != nil {
		return err
	}
	if !cpuFlag("vmx") && !cpuFlag("svm") {
		why := "no vmx or svm among the flags in /proc/cpuinfo"
		if err := runInstructions(sys); err != nil {
			why += "; " + err.Error()
		}
		return &kvm.NotSupportedError{Feature: "KVM for Linux guests", Reason: fmt.Sprintf("%s is backed by %s without hardware virtualization (%s)", kvm.Device, kvm.Backend(), why)}
	}
	if err := runInstructions(sys); err != nil {
		return &kvm.NotSupportedError{Feature: "KVM for Linux guests", Reason: fmt.Sprintf("%s cannot run ordinary kernel code: %v", kvm.Device, err)}
	}
	return nil
}

// instructions is a 64-bit guest's whole program: it counts the bits of 0xff with POPCNT, compares and exchanges 16 bytes,
// and reports the count at port 0xf4. Every x86-64 kernel uses such instructions; a backend that interprets ring 0 lacks them.
var instructions = []byte{
	0xb8, 0xff, 0x00, 0x00, 0x00, // mov eax, 0xff
	0xf3, 0x0f, 0xb8, 0xc8, // popcnt ecx, eax
	0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x00, 0x50, 0x00, 0x00, // cmpxchg16b [0x5000]
	0x88, 0xc8, // mov al, cl
	0xe6, 0xf4, // out 0xf4, al
	0xe6, tinyguest.EndPort, // out 0xf5, al
}

// Where the guest answers, and the bits that are set in 0xff.
const (
	answerPort  = 0xf4
	rightAnswer = 8
)

// answerBus takes the guest's answer.
type answerBus struct{ answer chan byte }

func (b answerBus) Port(_ int, port uint16, _ int, write bool, p []byte) {
	if write && port == answerPort {
		select {
		case b.answer <- p[0]:
		default:
		}
	}
}

func (answerBus) Memory(int, uint64, bool, []byte) {}

// instructionsLimit is far more than the program needs on any host, and attempts how often one that has not ended by then is run: QEMU's emulation of SVM
// loses a guest now and then, and one lost is no verdict.
const (
	instructionsLimit = 5 * time.Second
	attempts          = 2
)

// runInstructions runs the program and checks what it answers.
func runInstructions(sys *kvm.System) (err error) {
	for range attempts {
		var ended bool
		if ended, err = tryInstructions(sys); ended {
			return err
		}
	}
	return err
}

// tryInstructions is one run; ended says whether the program came to its end, or to another, within the limit.
func tryInstructions(sys *kvm.System) (ended bool, err error) {
	bus := answerBus{make(chan byte, 1)}
	g, err := tinyguest.New(sys, instructions, bus)
	if err != nil {
		return true, err
	}
	defer g.Close()
	g.CPU.Run()
	timeout := time.AfterFunc(instructionsLimit, g.CPU.Stop)
	defer timeout.Stop()
	stop := <-g.CPU.Stopped()
	select {
	case n := <-bus.answer:
		if n != rightAnswer {
			return true, fmt.Errorf("a test guest counted %d bits in 0xff", n)
		}
		return true, nil
	default:
	}
	if stop.Kind == vcpu.Asked {
		return false, fmt.Errorf("a test guest of a few instructions has not ended in %v: %s", instructionsLimit, stop.Detail)
	}
	return true, fmt.Errorf("a test guest of a few instructions failed: %s", stop.Detail)
}
