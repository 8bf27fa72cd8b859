package main

import (
	"errors"
	"math"
	"strings"
	"testing"

	"doorbell/internal/measure"

	"github.com/spf13/pflag"
)

// TestOrdersRefused: a number of rounds or a seed that cannot be is one line that says what can.
func TestOrdersRefused(t *testing.T) {
	for args, want := range map[string]string{
		"paths --rounds 0":                  `--rounds "0": write a number from 1 to 1000`,
		"paths --rounds -3":                 `--rounds "-3": write a number from 1 to 1000`,
		"paths --rounds three":              `--rounds "three": write a number from 1 to 1000`,
		"paths --rounds 1001":               `--rounds "1001": write a number from 1 to 1000`,
		"--rounds 99999999999999999999":     `--rounds "99999999999999999999": write a number from 1 to 1000`,
		"paths --rounds=":                   `--rounds "": write a number from 1 to 1000`,
		"paths --seed -1":                   `--seed "-1": write the seed that a report has`,
		"paths --seed 1.5e9":                `--seed "1.5e9": write the seed that a report has`,
		"paths --seed 18446744073709551616": `--seed "18446744073709551616": write the seed that a report has`,
	} {
		root := rootCommand()
		root.SetArgs(append([]string{"measure"}, strings.Fields(args)...))
		err := root.Execute()
		var ee *exitError
		if !errors.As(err, &ee) || ee.status != statusUsage || !strings.HasPrefix(ee.text, want) || strings.Contains(ee.text, "\n") {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestOrdersInLab: what the lab's command line is given there means the same.
func TestOrdersInLab(t *testing.T) {
	for _, c := range []struct {
		given  string
		rounds int
		seed   uint64
	}{{"", 0, 0}, {"--rounds 7", 7, 0}, {"--seed 12", 0, 12}, {"--rounds 1000 --seed 18446744073709551615", 1000, math.MaxUint64}} {
		o, flags := parsedRoundOptions(t, strings.Fields(c.given))
		seeded := strings.Contains(c.given, "--seed")
		if strings.Join(flags, " ") != c.given || o.Rounds != c.rounds || (o.Seed != nil) != seeded || seeded && *o.Seed != c.seed {
			t.Errorf("%q: %+v, and %q for the lab", c.given, o, flags)
		}
	}
}

// parsedRoundOptions are those of a command line.
func parsedRoundOptions(t *testing.T, given []string) (measure.RoundOptions, []string) {
	t.Helper()
	var rounds, seed string
	f := pflag.NewFlagSet("measure", pflag.ContinueOnError)
	f.StringVar(&rounds, "rounds", "", "")
	f.StringVar(&seed, "seed", "", "")
	if err := f.Parse(given); err != nil {
		t.Fatal(err)
	}
	o, flags, err := parseRoundOptions(f, rounds, seed)
	if err != nil {
		t.Fatal(err)
	}
	return o, flags
}
