package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"doorbell/internal/measure"
	"doorbell/internal/report"
	"doorbell/vmm"

	"github.com/spf13/cobra"
)

func measureCommand() *cobra.Command {
	g := &guestFlags{}
	var list bool
	var compare string
	cmd := &cobra.Command{
		Use:   "measure [EXPERIMENT ...]",
		Short: "Run experiments about interrupts and exits",
		Long: `measure runs experiments and reports them on standard output: each is a question about interrupts that a run answers with
counts. Without a name, the short ones run that need no device.`,
		Example: `  doorbell measure --list
  doorbell measure boot
  doorbell measure boot -c 4 --report json=boot.json
  doorbell measure paths --compare old.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return listExperiments()
			}
			found, err := measure.Find(args)
			if err != nil {
				return usageError("%v", err)
			}
			targets, err := g.targets("text")
			if err != nil {
				return err
			}
			if len(found) == 1 && len(found[0].Guests) > 0 && g.kernel != "" {
				return usageError("measure %s: it boots kernels of its own: leave -k out", found[0].Name)
			}
			bare := !slices.ContainsFunc(found, func(e measure.Experiment) bool { return !e.Bare })
			run := guestRun{measure: found.Run, args: args, bare: bare, guests: found.Guests()}
			if compare != "" {
				before, err := report.ReadDocument(compare)
				if err != nil {
					return usageError("--compare: %v", err)
				}
				run.measure, run.flags = comparing(found.Run, compare, before), []string{"--compare", compare}
			}
			return runGuest(cmd, g, targets, run)
		},
	}
	g.add(cmd.Flags())
	cmd.Flags().StringVar(&compare, "compare", "", "an earlier report as JSON: say which figures differ from its, beyond what the rounds do by themselves")
	cmd.Flags().BoolVar(&list, "list", false, "say what each experiment asks")
	return cmd
}

// comparing has a run's report put beside an earlier one.
func comparing(run measureFunc, name string, before *report.Document) measureFunc {
	return func(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
		doc, res, err := run(ctx, cfg)
		if err == nil {
			err = doc.Compare(name, before)
		}
		return doc, res, err
	}
}

func listExperiments() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "name\tquestion\tarms")
	for _, e := range measure.Experiments() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", e.Name, e.Question, e.Arms)
	}
	return w.Flush()
}
