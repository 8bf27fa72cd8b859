//go:build lab

package tests

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"doorbell/internal/probe"
	"doorbell/tests/compare/copying"
)

// TestCopyHeap: what a guest copies over its card leaves nothing behind in the VMM, and is not kept in it meanwhile.
func TestCopyHeap(t *testing.T) {
	each := uint64(512 << 20)
	if probe.Host().Emulated && !*long {
		each = 50 << 20
	}
	guest := os.Getenv("DOORBELL_GUEST")
	for _, network := range []string{"user", "tap=heap0"} {
		t.Run(network, func(t *testing.T) {
			for attempt := 1; ; attempt++ {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				var console bytes.Buffer
				r, err := copying.Copy(ctx, copying.Config{
					Kernel: filepath.Join(guest, "kernel"), Initrd: filepath.Join(guest, "initrd"), VCPUs: 2, Memory: 512 << 20,
					Net: network, Bytes: each, Output: &console,
				})
				cancel()
				if err != nil && attempt < attempts && probe.Host().Emulated {
					t.Logf("the emulated guest hung or crashed: attempt %d of %d: %v", attempt, attempts, err)
					continue
				}
				if err != nil {
					t.Fatalf("%v\n%s", err, &console)
				}
				t.Logf("%d MiB in %d frames: %d bytes live before, %d after; %d held before, %d after; %d bytes in %d objects allocated",
					r.Bytes>>20, r.Frames, r.LiveBefore, r.LiveAfter, r.HeldBefore, r.HeldAfter, r.Allocated, r.Objects)
				if g := r.Growth(); g > copying.Slack {
					t.Errorf("%d MiB left %d bytes in the VMM's heap", r.Bytes>>20, g)
				}
				if g := int64(r.HeldAfter) - int64(r.HeldBefore); g > copying.HeldSlack {
					t.Errorf("while %d MiB passed the VMM's heap took %d bytes more from the host", r.Bytes>>20, g)
				}
				return
			}
		})
	}
}
