package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"

	"doorbell/internal/measure"
	"doorbell/internal/report"
	"doorbell/vmm"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func measureCommand() *cobra.Command {
	g := &guestFlags{}
	var list bool
	var compare, rounds, seed string
	cmd := &cobra.Command{
		Use:   "measure [EXPERIMENT ...]",
		Short: "Run experiments about interrupts and exits",
		Long: `measure runs experiments and reports them on standard output: each is a question about interrupts that a run answers with
counts. Without a name, the short ones run that need no device.`,
		Example: `  doorbell measure --list
  doorbell measure boot
  doorbell measure boot -c 4 --report json=boot.json
  doorbell measure paths --compare old.json
  doorbell measure paths storm --rounds 5 --seed 1234`,
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
			orders, flags, err := parseRoundOptions(cmd.Flags(), rounds, seed)
			if err != nil {
				return err
			}
			bare := !slices.ContainsFunc(found, func(e measure.Experiment) bool { return !e.Bare })
			run := guestRun{measure: ordered(found.Run, orders), args: args, flags: flags, bare: bare, guests: found.Guests()}
			if cmd.Flags().Changed("compare") && compare == "" {
				return usageError("--compare: name the earlier report's file")
			}
			cards := slices.DeleteFunc(slices.Clone(g.devices), func(d string) bool { return d == vmm.IRQProbe })
			if slices.ContainsFunc(found, func(e measure.Experiment) bool { return e.Name == "vfio" }) && len(cards) != 1 {
				return usageError("measure vfio: name one card: --device vfio=ADDRESS, or vfio=auto for the only one bound to vfio-pci")
			}
			if compare != "" {
				before, err := report.ReadDocument(compare)
				if err != nil {
					return usageError("--compare: %v", err)
				}
				run.measure, run.flags = comparing(run.measure, compare, before), append(run.flags, "--compare", compare)
			}
			return runGuest(cmd, g, targets, run)
		},
	}
	g.add(cmd.Flags())
	cmd.Flags().StringVar(&compare, "compare", "", "an earlier report as JSON: say which figures differ from its, beyond what the rounds do by themselves")
	cmd.Flags().StringVar(&rounds, "rounds", "", "run each arm `N` times, 1 to "+strconv.Itoa(measure.MaxRounds)+" (default: as often as each experiment says by itself)")
	cmd.Flags().StringVar(&seed, "seed", "", "run the arms in the orders of the earlier run that printed this `SEED` (default: a new one)")
	cmd.Flags().BoolVar(&list, "list", false, "say what each experiment asks")
	return cmd
}

// parseRoundOptions reads --rounds and --seed; flags hand them on to the lab.
func parseRoundOptions(given *pflag.FlagSet, rounds, seed string) (o measure.RoundOptions, flags []string, err error) {
	// Text, since pflag would read 0x10 as 16, and what it says of a bad number is strconv's.
	if given.Changed("rounds") {
		if o.Rounds, err = strconv.Atoi(rounds); err != nil || o.Rounds < 1 || o.Rounds > measure.MaxRounds {
			return o, nil, usageError("--rounds %q: write a number from 1 to %d", rounds, measure.MaxRounds)
		}
		flags = append(flags, "--rounds", strconv.Itoa(o.Rounds))
	}
	if given.Changed("seed") {
		n, err := strconv.ParseUint(seed, 10, 64)
		if err != nil {
			return o, nil, usageError("--seed %q: write the seed that a report has, a number from 0 to %d", seed, uint64(math.MaxUint64))
		}
		o.Seed = &n
		flags = append(flags, "--seed", strconv.FormatUint(n, 10))
	}
	return o, flags, nil
}

// ordered has a run follow a user's wishes for its rounds.
func ordered(run measureFunc, o measure.RoundOptions) measureFunc {
	return func(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
		return run(measure.WithRoundOptions(ctx, o), cfg)
	}
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
