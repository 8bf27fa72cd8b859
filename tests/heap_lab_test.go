//go:build lab

package tests

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"doorbell/internal/probe"
	"doorbell/tests/compare/copying"
)

// long copies the 1 GiB that a real host copies also on an emulated one, where it takes minutes.
var long = flag.Bool("long", false, "copy 1 GiB through the card on an emulated host too")

// TestCopyHeap: what a guest copies over its card leaves nothing behind in the VMM, and is not kept in it meanwhile.
func TestCopyHeap(t *testing.T) {
	each := uint64(512 << 20)
	if probe.Host().Emulated && !*long {
		each = 50 << 20
	}
	guest := os.Getenv("DOORBELL_GUEST")
	for _, network := range []string{"user", "tap=heap0"} {
		t.Run(network, func(t *testing.T) {
			guestTest(t, func(t testing.TB) { testCopyHeap(t, guest, network, each) })
		})
	}
}

func testCopyHeap(t testing.TB, guest, network string, each uint64) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*timeout)
	defer cancel()
	var console bytes.Buffer
	r, err := copying.Copy(ctx, copying.Config{
		Kernel: filepath.Join(guest, "kernel"), Initrd: filepath.Join(guest, "initrd"), VCPUs: 2, Memory: 512 << 20,
		Net: network, Bytes: each, Output: &console,
	})
	if err != nil {
		died(t, err.Error())
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
}
