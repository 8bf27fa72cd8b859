// Package copying lets a machine of this process copy data over its network card, and watches the process's heap meanwhile. The VMM is a
// library here, so that the heap can be looked at exactly: what lives in it, behind a collection, and what was ever allocated.
package copying

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"doorbell/internal/netconf/nettest"
	"doorbell/internal/traffic"
	"doorbell/vmm"
)

// Config is what is to be copied, and by what machine.
type Config struct {
	Kernel, Initrd string
	VCPUs          int
	Memory         uint64
	Net            string // as after --net: user, or tap=NAME for a tap interface that is made for it
	Bytes          uint64 // in each direction
	Output         io.Writer
}

// WarmUp is what is copied before the heap is looked at, in each direction: buffers that grow with a connection's speed have grown.
const WarmUp = 16 << 20

// bootPatience is how long the guest may take until it calls.
const bootPatience = time.Minute

// Result is what the process's heap was before and after, and what passed between.
type Result struct {
	Bytes    uint64 // in both directions together
	Frames   uint64 // at the guest's interface
	Up, Down time.Duration

	LiveBefore, LiveAfter uint64 // bytes of objects that outlived a collection
	HeldBefore, HeldAfter uint64 // bytes that the heap had from the host and had not given back, after one half of the bytes and after the other
	Allocated             uint64 // bytes, ever
	Objects               uint64 // allocations, ever
}

// What may be gained between two looks without anything being kept for what has passed.
const (
	Slack     = 1 << 20  // of live bytes: connections that are ending, timers, what a collection leaves to the next
	HeldSlack = 16 << 20 // of held bytes: the collector starts at twice what lives, and not below 4 MiB; frames are allocated meanwhile
)

// Growth is by how much more lives.
func (r *Result) Growth() int64 { return int64(r.LiveAfter) - int64(r.LiveBefore) }

// tapHost is the host's end of the wire, where the machine is on a tap interface.
var tapHost = netip.MustParsePrefix("10.78.0.1/24")

// Copy boots a guest, copies, and ends it.
func Copy(ctx context.Context, c Config) (r Result, err error) {
	network, err := vmm.ParseNet(c.Net)
	if err != nil {
		return r, err
	}
	seen, listen, address := "10.0.2.2", "127.0.0.1", "dhcp"
	if network.Tap != "" {
		wire, err := nettest.NewTap(network.Tap, tapHost, max(network.Queues, c.VCPUs))
		if err != nil {
			return r, err
		}
		defer wire.Close()
		seen, listen = tapHost.Addr().String(), tapHost.Addr().String()
		address = fmt.Sprintf("static=%v/%d,%s", tapHost.Addr().Next(), tapHost.Bits(), seen)
	}
	controller, err := traffic.Listen(listen + ":0")
	if err != nil {
		return r, err
	}
	defer controller.Close()
	m, err := vmm.New(vmm.Config{
		Kernel: c.Kernel, Initrd: c.Initrd, Memory: c.Memory, VCPUs: c.VCPUs, IRQChip: "kernel", Net: network, Output: c.Output,
		Cmdline: fmt.Sprintf("console=ttyS0 quiet panic=-1 doorbell.net=%s doorbell.workload=traffic=%s:%d", address, seen, controller.Addr().Port()),
	})
	if err != nil {
		return r, err
	}
	defer m.Close()
	ctx, stop := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	go func() {
		result, err := m.Run(ctx)
		if err == nil && result.End != vmm.PoweredOff {
			err = fmt.Errorf("the guest %s: %s", result.End, result.Reason)
		}
		stop(errors.Join(errors.New("the machine has ended"), err))
		ended <- err
	}()
	copyErr := func() error {
		patience, cancel := context.WithTimeout(ctx, bootPatience)
		defer cancel()
		g, err := controller.Accept(patience)
		if err != nil {
			return err
		}
		if err := r.watch(ctx, g, c.Bytes); err != nil {
			return err
		}
		return g.End(ctx)
	}()
	if copyErr != nil {
		stop(copyErr)
	}
	return r, errors.Join(copyErr, <-ended)
}

// watch copies, and looks at the heap before and after.
func (r *Result) watch(ctx context.Context, g *traffic.Guest, bytes uint64) error {
	if _, _, err := both(ctx, g, WarmUp); err != nil {
		return err
	}
	before, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	start := look()
	if r.Up, r.Down, err = both(ctx, g, bytes/2); err != nil {
		return err
	}
	half := now()
	up, down, err := both(ctx, g, bytes-bytes/2)
	if err != nil {
		return err
	}
	r.Up, r.Down = r.Up+up, r.Down+down
	allocated := now()
	end := look()
	after, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	delta := after.Since(&before)
	r.Bytes, r.Frames = 2*bytes, delta.Link.RxPackets+delta.Link.TxPackets
	r.LiveBefore, r.LiveAfter = start.HeapAlloc, end.HeapAlloc
	r.HeldBefore, r.HeldAfter = half.HeapSys-half.HeapReleased, allocated.HeapSys-allocated.HeapReleased
	r.Allocated, r.Objects = allocated.TotalAlloc-start.TotalAlloc, allocated.Mallocs-start.Mallocs
	return nil
}

// both copies in one direction after the other.
func both(ctx context.Context, g *traffic.Guest, bytes uint64) (up, down time.Duration, err error) {
	o := traffic.StreamOptions{BytesPerFlow: bytes}
	u, err := g.StreamUp(ctx, o)
	if err != nil {
		return 0, 0, err
	}
	d, err := g.StreamDown(ctx, o)
	return u.Duration, d.Duration, err
}

// look collects first: twice, since what a pool holds outlives one collection.
func look() runtime.MemStats {
	runtime.GC()
	runtime.GC()
	return now()
}

func now() (m runtime.MemStats) {
	runtime.ReadMemStats(&m)
	return m
}
