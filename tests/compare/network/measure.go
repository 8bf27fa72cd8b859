package network

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"doorbell/internal/probe"
	"doorbell/tests/compare/host"
	"doorbell/tests/compare/rounds"
)

// comparison is one run of the program's.
type comparison struct {
	setup *host.Setup
	sizes Sizes
	start time.Time
}

// loadPatience bounds one load, runPatience all of an arm's; attempts is how often an emulated guest that hangs or crashes is tried.
const (
	loadPatience = time.Minute
	runPatience  = 4 * time.Minute
	attempts     = 3
)

// progress tells a person what goes on.
func (c *comparison) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "compare: %4.0f s: %s\n", time.Since(c.start).Seconds(), fmt.Sprintf(format, args...))
}

// Measure runs every arm and prints the tables. An error also says which promise of doorbell's this run did not keep.
func Measure(ctx context.Context, s *host.Setup, r rounds.Rounds, sizes Sizes) error {
	c := &comparison{setup: s, sizes: sizes, start: time.Now()}
	var chosen []*arm
	for i := range arms {
		if regexp.MustCompile(sizes.Arms).MatchString(arms[i].name) {
			chosen = append(chosen, &arms[i])
		}
	}
	all := results{}
	err := r.Run(len(chosen), func(round, i int) error {
		a := chosen[i]
		c.progress("network, round %d of %d: %s", round+1, r.Count, a.name)
		samples, err := retry(ctx, c, a.run)
		if err == nil {
			all.add(a, samples)
		}
		return err
	})
	if err != nil {
		return err
	}
	all.print(os.Stdout, chosen, r)
	copies, err := c.heaps(ctx)
	if err != nil {
		return err
	}
	emulated := probe.Host().Emulated
	printHeaps(os.Stdout, copies)
	if emulated {
		fmt.Println("\nThe host is emulated: rates compare within a block only, and roughly; they are shown, and the counts are judged. Counts contain what\n" +
			"does not come from packets, such as the host's timer: whoever takes longer has more of it.")
	}
	if broken := append(all.broken(emulated), grown(copies)...); len(broken) > 0 {
		return fmt.Errorf("not as promised: %s", strings.Join(broken, "; "))
	}
	return nil
}

// retry runs an arm, again where an emulated host is to blame: it may lose a guest.
func retry[T any](ctx context.Context, c *comparison, run func(context.Context, *comparison) (T, error)) (result T, err error) {
	for attempt := 1; ; attempt++ {
		limited, cancel := context.WithTimeoutCause(ctx, runPatience, fmt.Errorf("not done within %v", runPatience))
		result, err = run(limited, c)
		cancel()
		if err == nil || attempt == attempts || ctx.Err() != nil || !probe.Host().Emulated {
			return result, err
		}
		line, _, _ := strings.Cut(err.Error(), "\n") // what follows is the terminal's
		c.progress("attempt %d of %d: %s", attempt, attempts, line)
	}
}
