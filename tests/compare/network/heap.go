package network

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"doorbell/tests/compare/copying"
)

// copied is what copying did to the heap of a machine of this process.
type copied struct {
	backend backend
	copying.Result
}

// heaps copies on each backend.
func (c *comparison) heaps(ctx context.Context) (all []copied, err error) {
	if c.sizes.Copy == 0 {
		return nil, nil
	}
	for _, b := range []backend{tap, user} {
		network := string(b)
		if b == tap {
			network += "=" + tapName
		}
		c.progress("copy %d MiB, half of them in each direction: doorbell %s", c.sizes.Copy, b)
		r, err := retry(ctx, c, func(ctx context.Context, _ *comparison) (copying.Result, error) {
			var console bytes.Buffer
			r, err := copying.Copy(ctx, copying.Config{
				Kernel: c.setup.Vmlinux, Initrd: c.setup.Initrd, VCPUs: 2, Memory: 512 << 20, Net: network, Bytes: c.sizes.Copy << 20 / 2, Output: &console,
			})
			if err != nil {
				err = fmt.Errorf("copy: doorbell %s: %w\n%s", b, err, &console)
			}
			return r, err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, copied{b, r})
	}
	return all, nil
}

// printHeaps prints what heaps has found.
func printHeaps(out io.Writer, all []copied) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(out, "\nThe VMM's heap while its guest copies %d MiB, half of them in each direction, after %d MiB to warm up\n", all[0].Bytes>>20, copying.WarmUp>>20)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tlive before\tafter\tgrowth\tfrom the host before\tafter\tallocated on the way\tframes\tMiB/s up\tdown\t")
	kib := func(n uint64) string { return fmt.Sprintf("%d KiB", n>>10) }
	for _, c := range all {
		half := float64(c.Bytes>>20) / 2
		fmt.Fprintf(w, "doorbell %s\t%s\t%s\t%+d KiB\t%s\t%s\t%s\t%d\t%.1f\t%.1f\t\n", c.backend, kib(c.LiveBefore), kib(c.LiveAfter), c.Growth()>>10,
			kib(c.HeldBefore), kib(c.HeldAfter), kib(c.Allocated), c.Frames, half/c.Up.Seconds(), half/c.Down.Seconds())
	}
	w.Flush()
}

// grown are the copies that left something in the heap, in a few words.
func grown(all []copied) (words []string) {
	for _, c := range all {
		if g := c.Growth(); g > copying.Slack {
			words = append(words, fmt.Sprintf("doorbell %s: a copy of %d MiB left %d KiB in the heap", c.backend, c.Bytes>>20, g>>10))
		}
		if g := int64(c.HeldAfter) - int64(c.HeldBefore); g > copying.HeldSlack {
			words = append(words, fmt.Sprintf("doorbell %s: a copy of %d MiB took %d KiB more from the host", c.backend, c.Bytes>>20, g>>10))
		}
	}
	return words
}
