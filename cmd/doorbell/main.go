// Command doorbell boots Linux on KVM and shows every interrupt and what it cost.
//
// It is the command line and nothing else: flags become a configuration, a package does the work, the result is printed.
// Exit status: 0 the guest powered off by itself; 1 doorbell failed; 2 bad usage; 3 the guest crashed or was killed.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"doorbell/internal/lab"
	"doorbell/vmm"

	"github.com/spf13/cobra"
)

// The exit statuses.
const (
	statusFailed  = 1
	statusUsage   = 2
	statusCrashed = 3
)

// exitError ends the process with a status; an empty text means that everything has been said.
type exitError struct {
	status int
	text   string
}

func (e *exitError) Error() string { return e.text }

func usageError(format string, args ...any) error {
	return &exitError{statusUsage, fmt.Sprintf(format, args...)}
}

func main() {
	if lab.IsInit() {
		lab.Init()
	}
	os.Exit(run(os.Args[1:]))
}

// run executes a command line and returns the exit status.
func run(args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return 0
	}
	var ee *exitError
	var ce *vmm.ConfigError
	status, text := statusFailed, err.Error()
	switch {
	case errors.As(err, &ee):
		status, text = ee.status, ee.text
	case errors.As(err, &ce):
		status = statusUsage
	}
	if text != "" {
		say("%s", text)
	}
	return status
}

// say prints one line of doorbell's own words.
func say(format string, args ...any) {
	text := strings.Join(strings.Fields(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")), " ")
	fmt.Fprintf(os.Stderr, "doorbell: %s\n", text)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "doorbell",
		Short: "A KVM hypervisor that shows every interrupt",
		Long: `doorbell boots Linux on KVM and accounts for every VM exit: by reason, vCPU, device and register.
Where this host's KVM cannot run Linux, it starts an emulated one that can (the lab) and runs itself there.`,
		Example: `  doorbell boot                              boot Debian's kernel with two vCPUs, then show its interrupts and exits
  doorbell boot -c 4 -m 1G --report json=r.json
  doorbell measure boot --report json | jq .vm.exits_by_reason
  doorbell probe                             what this host offers, and how that is known`,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("unknown command %q: try doorbell --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.Help()
			return &exitError{status: statusUsage}
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(bootCommand(), measureCommand(), probeCommand(), nmiCommand(), labCommand(), bindCommand(), unbindCommand())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("%v: try %s --help", err, cmd.CommandPath())
	})
	return root
}
