package main

import (
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"doorbell/internal/measure"

	"github.com/spf13/cobra"
)

func measureCommand() *cobra.Command {
	g := &guestFlags{}
	var list bool
	cmd := &cobra.Command{
		Use:   "measure [EXPERIMENT ...]",
		Short: "Run experiments about interrupts and exits",
		Long: `measure runs experiments and reports them on standard output: each is a question about interrupts that a run answers with
counts. Without a name, the short ones run that need no device.`,
		Example: `  doorbell measure --list
  doorbell measure boot
  doorbell measure boot -c 4 --report json=boot.json`,
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
			bare := !slices.ContainsFunc(found, func(e measure.Experiment) bool { return !e.Bare })
			return runGuest(cmd, g, targets, guestRun{measure: found.Run, args: args, bare: bare})
		},
	}
	g.add(cmd.Flags())
	cmd.Flags().BoolVar(&list, "list", false, "say what each experiment asks")
	return cmd
}

func listExperiments() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "name\tquestion\tarms")
	for _, e := range measure.Experiments() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", e.Name, e.Question, e.Arms)
	}
	return w.Flush()
}
