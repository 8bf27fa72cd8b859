package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"doorbell/internal/probe"
	"doorbell/irqchip"
	"doorbell/tests/compare/host"
	"doorbell/tests/compare/rounds"
)

// qemuChip is QEMU's name of a set of interrupt controllers.
var qemuChip = map[string]string{irqchip.KernelName: "on", irqchip.SplitName: "split", irqchip.UserName: "off"}

// controllerArms are doorbell and QEMU on each set of interrupt controllers. One vCPU: with two, QEMU's own local APICs hang on an emulated host.
func controllerArms(s *host.Setup) (all []arm) {
	for _, chip := range irqchip.Names {
		all = append(all, arm{"doorbell", chip, append(s.DoorbellCommand("1", "512", cmdline, s.Vmlinux), "--report", "none", "--net", "none", "--irqchip", chip)})
	}
	for _, chip := range irqchip.Names {
		q := s.QEMUCommand("1", "512", cmdline)
		q[slices.Index(q, "q35")] += ",kernel-irqchip=" + qemuChip[chip]
		if chip == irqchip.UserName {
			// Offered without KVM's local APIC, this feature stops QEMU 7.2: "failed to set MSR 0x4b564d06".
			q[slices.Index(q, "host")] += ",kvm-asyncpf-int=off"
		}
		all = append(all, arm{"QEMU", chip, q})
	}
	return all
}

// MeasureControllers boots the same guest on the three sets of interrupt controllers, under doorbell and QEMU, and prints the table. An error also
// says which promise of doorbell's this run did not keep.
func MeasureControllers(ctx context.Context, s *host.Setup, r rounds.Rounds) error {
	all := controllerArms(s)
	results := make([][]result, len(all))
	err := r.Run(len(all), func(round, i int) error {
		fmt.Fprintf(os.Stderr, "compare: controllers, round %d of %d: %s %s\n", round+1, r.Count, all[i].name, all[i].note)
		one, err := runArm(ctx, all[i])
		if err != nil {
			return fmt.Errorf("%s %s: %w", all[i].name, all[i].note, err)
		}
		results[i] = append(results[i], one)
		return nil
	})
	if err != nil {
		return err
	}
	n := len(irqchip.Names)
	fmt.Printf("Linux from start to userspace by interrupt controllers, 1 vCPU, %d MiB; medians of %d rounds, seed %#x\n", memoryMiB, r.Count, r.Seed)
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "VMM\tcontrollers\ts\t/ kernel\t/ QEMU\texits\t/ kernel\t/ QEMU\t")
	exits := func(r result) float64 { return float64(r.exits) }
	for i, a := range all {
		kernel, qemu := i/n*n, n+i%n
		ratio := func(to int, f func(result) float64) float64 {
			return rounds.Median(results[i], f) / rounds.Median(results[to], f)
		}
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%.2f\t%.2f\t%.0f\t%.2f\t%.2f\t\n", a.name, a.note, rounds.Median(results[i], seconds), ratio(kernel, seconds), ratio(qemu, seconds),
			rounds.Median(results[i], exits), ratio(kernel, exits), ratio(qemu, exits))
	}
	w.Flush()
	if probe.Host().Emulated {
		fmt.Println("\nThe host is emulated: its seconds compare within this table only; counts are exact.")
	}
	return controllerBudgets(results)
}

// controllerBudgets are doorbell's promises.
func controllerBudgets(results [][]result) error {
	const (
		split = 1.05 // of kernel's time, either way
		user  = 2.5  // of kernel's time
	)
	time := func(i int) float64 { return rounds.Median(results[i], seconds) }
	var errs []error
	if r := time(1) / time(0); r > split || 1/r > split {
		errs = append(errs, fmt.Errorf("split took %.3f of kernel's time to userspace, which is not within 5 %%", r))
	}
	if r := time(2) / time(0); r > user {
		errs = append(errs, fmt.Errorf("user took %.2f of kernel's time to userspace, more than %.1f", r, user))
	}
	return errors.Join(errs...)
}
