package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"doorbell/internal/probe"
	"doorbell/internal/report"

	"github.com/spf13/cobra"
)

func probeCommand() *cobra.Command {
	var specs []string
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Say what this host offers, and how that is known",
		Long: `probe asks this host for everything that doorbell can use and prints one line for each, with its evidence. It tells a
/dev/kvm that runs Linux from one that only answers. It changes nothing.`,
		Example: `  doorbell probe
  doorbell probe --report json | jq '.findings[] | select(.answer != "yes")'
  doorbell lab -- doorbell probe             what the emulated host offers`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			g := guestFlags{reports: specs}
			targets, err := g.targets("text")
			if err != nil {
				return err
			}
			for _, t := range targets {
				if t.Format == report.HTML {
					return usageError("probe --report html: findings have no page: text or json")
				}
				if err := t.Open(); err != nil {
					return &exitError{statusFailed, err.Error()}
				}
				defer t.Discard()
			}
			r := probe.Findings()
			for _, t := range targets {
				if err := t.Write(probeDocument(r), os.Stdout); err != nil {
					return &exitError{statusFailed, err.Error()}
				}
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&specs, "report", nil, "text or json, with =FILE if wanted")
	return cmd
}

// probeDocument prints findings.
type probeDocument probe.Report

// MarshalJSON implements report.Body.
func (d probeDocument) MarshalJSON() ([]byte, error) { return json.Marshal(probe.Report(d)) }

// HTML implements report.Body; nobody asks.
func (probeDocument) HTML(io.Writer) error { return errors.ErrUnsupported }

// Text implements report.Body.
func (d probeDocument) Text(w io.Writer) {
	e := d.Environment
	fmt.Fprintf(w, "%s, %d CPUs, Linux %s", e.CPU, e.CPUs, e.Kernel)
	if e.Hypervisor != "" {
		fmt.Fprintf(w, ", on a hypervisor that calls itself %s", e.Hypervisor)
	}
	fmt.Fprintf(w, "\n\n")
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, f := range d.Findings {
		answer := string(f.Answer)
		if f.Value != "" {
			answer += ", " + f.Value
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Title, answer, f.Evidence)
		if f.Advice != "" {
			fmt.Fprintf(t, "\t\t-> %s\n", f.Advice)
		}
	}
	t.Flush()
}
