package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// nmiSignal presses the NMI button of the guest that a doorbell runs.
const nmiSignal = syscall.SIGUSR2

// nmiButton is pressed by nmiSignal until it is released.
func nmiButton() (pressed <-chan os.Signal, release func()) {
	c := make(chan os.Signal, 1) // several at once are one
	signal.Notify(c, nmiSignal)
	return c, func() { signal.Stop(c) }
}

func nmiCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "nmi [PID]",
		Short: "Press the NMI button of a running guest",
		Long: `nmi sends a non-maskable interrupt to the guest that another doorbell runs, in the lab too. Linux says that it knows no reason for it;
with unknown_nmi_panic on its command line it panics and shows where it was: the doctor's button for a guest that hangs.

Without PID there must be one doorbell that boots or measures. The same is done by kill -USR2 PID.`,
		Example: `  doorbell boot -p "console=ttyS0 unknown_nmi_panic doorbell.end=halt" &
  doorbell nmi`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("nmi takes one process, not %d: try %s --help", len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			running, err := runningGuests("/proc")
			if err != nil {
				return err
			}
			target, err := chooseGuest(running, args)
			if err != nil {
				return err
			}
			if err := syscall.Kill(target.pid, nmiSignal); err != nil {
				return fmt.Errorf("signal process %d: %w", target.pid, err)
			}
			say("pressed the NMI button of process %d (%s)", target.pid, target.command)
			return nil
		},
	}
}

// guestProcess is a doorbell that may be running a guest.
type guestProcess struct {
	pid     int
	command string
}

func (p guestProcess) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.command) }

// runningGuests finds the processes of the same program that boot or measure; proc is where procfs is.
func runningGuests(proc string) ([]guestProcess, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var found []guestProcess
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(proc, e.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
		if len(args) < 2 || filepath.Base(args[0]) != "doorbell" || args[1] != "boot" && args[1] != "measure" {
			continue
		}
		command := []rune(strings.Join(args[1:], " "))
		if len(command) > 60 {
			command = append(command[:60], '…')
		}
		found = append(found, guestProcess{pid, string(command)})
	}
	return found, nil
}

// chooseGuest picks the one that is meant: the one with the PID in args, or the only one.
func chooseGuest(running []guestProcess, args []string) (guestProcess, error) {
	var none guestProcess
	var list []string
	for _, p := range running {
		list = append(list, p.String())
	}
	if len(args) == 0 {
		switch len(running) {
		case 0:
			return none, fmt.Errorf("no doorbell that boots or measures is running")
		case 1:
			return running[0], nil
		}
		return none, usageError("several doorbells run guests: %s; say which: doorbell nmi PID", strings.Join(list, ", "))
	}
	pid, err := strconv.Atoi(args[0])
	if err != nil || pid <= 0 {
		return none, usageError("%q is not the number of a process", args[0])
	}
	for _, p := range running {
		if p.pid == pid {
			return p, nil
		}
	}
	return none, fmt.Errorf("process %d is not a doorbell that boots or measures", pid)
}
