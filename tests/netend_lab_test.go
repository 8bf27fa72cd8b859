//go:build lab

package tests

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"doorbell/internal/netconf/netserve"
	"doorbell/internal/traffic"
	"doorbell/vmm"
)

// TestTapDeleted: a tap that is deleted under load takes neither the guest nor doorbell with it: the guest's card loses its carrier, the
// report says what happened, and no descriptor is left over.
func TestTapDeleted(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		l := tapLink(t)
		s := startSession(t, l, fmt.Sprintf("exec=%s test.role=unplugged test.peer=PEER", netGuestPath), "-c", "4", "-i", netInitramfs(t))
		before := descriptors(t, s.cmd.Process.Pid)
		ctx, cancel := context.WithCancel(s.ctx)
		var load sync.WaitGroup
		loadBothWays(ctx, &load, s.Guest)
		if err := someBytes(s.ctx, s.Guest); err != nil {
			s.fatal(err)
		}
		if err := l.tap.Delete(); err != nil {
			t.Fatal(err)
		}
		s.waitLine("guest: the card has no carrier")
		after := descriptors(t, s.cmd.Process.Pid)
		cancel()
		load.Wait()
		fmt.Fprintln(s.stdin, "indeed")
		s.waitLine("guest: alive, indeed")
		o, d := s.wait()
		if len(after) > len(before) {
			t.Errorf("doorbell has %d descriptors, had %d before\n%q\n%q", len(after), len(before), after, before)
		}
		o.want(t, 0, o.stderr, "powered off")
		n := d.VM.Net
		if len(n.Events) != 1 || !strings.Contains(n.Events[0].Event, "tap tap0: the interface was deleted while in use") || n.NeedsReset {
			t.Errorf("the account: needs reset %v, events %+v", n.NeedsReset, n.Events)
		}
		logCard(t, d)
	})
}

// loadBothWays streams to and from a guest until ctx ends.
func loadBothWays(ctx context.Context, group *sync.WaitGroup, g *traffic.Guest) {
	o := traffic.StreamOptions{Placement: traffic.Placement{Flows: 2, CPUs: []int{0, 1}}, BytesPerFlow: 1 << 40}
	group.Go(func() { g.StreamUp(ctx, o) })
	group.Go(func() { g.StreamDown(ctx, o) })
}

// someBytes moves a megabyte each way, beside a load, so that it is known to move.
func someBytes(ctx context.Context, g *traffic.Guest) error {
	o := traffic.StreamOptions{BytesPerFlow: 1 << 20}
	if _, err := g.StreamUp(ctx, o); err != nil {
		return err
	}
	_, err := g.StreamDown(ctx, o)
	return err
}

// descriptors are what a process has open, by what they refer to.
func descriptors(t testing.TB, pid int) (all []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			all = append(all, e.Name()+" "+to)
		}
	}
	return all
}

// TestCloseUnderLoad: a machine that is stopped while its network is busy gives every descriptor back, whatever the backend.
func TestCloseUnderLoad(t *testing.T) { eachLink(t, testCloseUnderLoad) }

func testCloseUnderLoad(t testing.TB, l link) {
	listen := func() *traffic.Controller {
		c, err := traffic.Listen(net.JoinHostPort(l.listen, "0"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	listen().Close() // the runtime opens some for its poller, and keeps them
	before := descriptors(t, os.Getpid())
	closeUnderLoad(t, l, listen())
	if after := descriptors(t, os.Getpid()); len(after) > len(before) {
		t.Errorf("%d descriptors after the machine, %d before:\n%q\n%q", len(after), len(before), after, before)
	}
}

// closeUnderLoad runs a machine in this process, and returns when nothing of it is left, nor of the controller.
func closeUnderLoad(t testing.TB, l link, c *traffic.Controller) {
	defer c.Close()
	config, err := vmm.ParseNet(l.net)
	if err != nil {
		t.Fatal(err)
	}
	guest := os.Getenv("DOORBELL_GUEST")
	m, err := vmm.New(vmm.Config{
		Kernel: filepath.Join(guest, "kernel"), Initrd: filepath.Join(guest, "initrd"), Memory: 512 << 20, VCPUs: 2, IRQChip: "kernel", Net: config,
		Cmdline: fmt.Sprintf("%sdoorbell.workload=traffic=%s:%d", quiet, netserve.HostName, c.Addr().Port()),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), timeout)
	defer stop()
	loading, unload := context.WithCancel(ctx)
	var load sync.WaitGroup
	load.Go(func() {
		defer stop()
		g, err := c.Accept(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		loadBothWays(loading, &load, g)
		if err := someBytes(ctx, g); err != nil {
			t.Error(err)
		}
	})
	r, err := m.Run(ctx)
	if err != nil {
		t.Error(err)
	} else if r.End != vmm.Stopped {
		if r.End == vmm.Crashed {
			died(t, r.Reason)
		}
		t.Errorf("the machine %s: %s", r.End, r.Reason)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	unload()
	load.Wait()
}
