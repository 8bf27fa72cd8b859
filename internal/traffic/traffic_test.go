package traffic

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"doorbell/internal/netconf"
	"doorbell/internal/netconf/netserve"
	"doorbell/internal/netconf/nettest"
	"doorbell/internal/traffic/guest"
	"doorbell/internal/traffic/wire"

	"github.com/vishvananda/netlink"
)

// patience ends a test that hangs.
const patience = 60 * time.Second

// pair is a controller and a guest of this process.
func pair(t *testing.T) (context.Context, *Controller, *Guest, <-chan error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	served := make(chan error, 1)
	go func() { served <- guest.Serve(ctx, c.Addr().String()) }()
	g, err := c.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, c, g, served
}

// ended checks that a task went well by ending the guest.
func ended(t *testing.T, ctx context.Context, g *Guest, served <-chan error) {
	t.Helper()
	if err := g.End(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("guest: %v", err)
	}
	if _, err := g.Snapshot(ctx); err == nil || !strings.HasPrefix(err.Error(), "guest: ") {
		t.Errorf("a snapshot of a guest that has ended: %v", err)
	}
}

func TestStreams(t *testing.T) {
	ctx, _, g, served := pair(t)
	if h := g.Hello(); h.CPUs < 1 || h.Kernel == "" || h.Version != wire.Version {
		t.Errorf("hello %+v", h)
	}
	for _, tt := range []StreamOptions{
		{BytesPerFlow: 0},
		{BytesPerFlow: 1, Check: wire.CheckXor},
		{BytesPerFlow: 100003, Check: wire.CheckSHA256, Chunk: 4096, Seed: 3},
		{BytesPerFlow: 3<<20 + 5, Check: wire.CheckXor, Placement: Placement{Flows: 4}},
		{BytesPerFlow: 5 << 20, Check: wire.CheckNone, Placement: Placement{Flows: 2, CPUs: []int{0}}},
		{BytesPerFlow: 100003, Check: wire.CheckSHA256, Placement: Placement{Flows: 3, Dial: "127.0.0.1:0"}},
	} {
		for up, run := range map[bool]func(context.Context, StreamOptions) (StreamResult, error){true: g.StreamUp, false: g.StreamDown} {
			r, err := run(ctx, tt)
			flows := max(tt.Flows, 1)
			if err != nil {
				t.Errorf("%+v up=%v: %v", tt, up, err)
				continue
			}
			if r.Bytes != tt.BytesPerFlow*uint64(flows) || len(r.Flows) != flows || r.Duration <= 0 {
				t.Errorf("%+v up=%v: %+v", tt, up, r)
			}
			for _, f := range r.Flows {
				if (f.Digest != "") != (tt.Check == wire.CheckXor || tt.Check == wire.CheckSHA256) || f.LocalPort == 0 {
					t.Errorf("%+v up=%v: flow %+v", tt, up, f)
				}
			}
		}
	}
	ended(t, ctx, g, served)
}

func TestRoundTrips(t *testing.T) {
	ctx, _, g, served := pair(t)
	for _, tt := range []RoundTripOptions{
		{Count: 50},
		{Count: 20, Bytes: 1, Placement: Placement{Flows: 3}},
		{Count: 20, Bytes: 100000, Placement: Placement{Dial: "127.0.0.1:0"}},
		{Count: 50, UDP: true, Timeout: patience},
		{Count: 20, Bytes: 12, UDP: true, Timeout: patience, Placement: Placement{Flows: 3}},
		{Count: 20, Bytes: 1400, UDP: true, Timeout: patience, Placement: Placement{Dial: "127.0.0.1:0"}},
	} {
		r, err := g.RoundTrips(ctx, tt)
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		want := uint64(tt.Count * max(tt.Flows, 1))
		l := r.Latency
		if l.Count != want || r.Lost != 0 || l.Min <= 0 || l.Min > l.P50 || l.P50 > l.P999 || l.P999 > l.Max || r.PerSecond() <= 0 {
			t.Errorf("%+v: %+v", tt, r)
		}
		var seen uint64
		for _, f := range r.Flows {
			seen += f.Packets
		}
		if seen != want {
			t.Errorf("%+v: the guest saw %d", tt, seen)
		}
	}
	ended(t, ctx, g, served)
}

func TestPackets(t *testing.T) {
	ctx, _, g, served := pair(t)
	for _, tt := range []PacketOptions{
		{PerFlow: 100},
		{PerFlow: 50, Bytes: 1400, Placement: Placement{Flows: 3}},
		{PerFlow: 30, Bytes: 64, PerSecond: 1000},
	} {
		for up, run := range map[bool]func(context.Context, PacketOptions) (PacketResult, error){true: g.PacketsUp, false: g.PacketsDown} {
			r, err := run(ctx, tt)
			want := tt.PerFlow * uint64(max(tt.Flows, 1))
			if err != nil || r.Sent != want || r.Received != want || r.Lost() != 0 || r.Duplicates != 0 || len(r.Flows) != max(tt.Flows, 1) {
				t.Errorf("%+v up=%v: %+v, %v", tt, up, r, err)
			}
			// The guest hears of the first after it was sent, and answers after the last.
			if !up && r.Elapsed < r.Duration || up && r.Elapsed != 0 {
				t.Errorf("%+v up=%v: %v by this side's clock, %v by the guest's", tt, up, r.Elapsed, r.Duration)
			}
		}
	}
	in := PacketOptions{PerFlow: 40, Bytes: 100, Placement: Placement{Dial: "127.0.0.1:0"}}
	if r, err := g.PacketsDown(ctx, in); err != nil || r.Received != 40 {
		t.Errorf("inbound: %+v, %v", r, err)
	}
	if _, err := g.PacketsUp(ctx, in); err == nil || err.Error() != "packets up: packets: datagrams to the controller go out, not in" {
		t.Errorf("error %v", err)
	}
	ended(t, ctx, g, served)
}

// Flows have the ports that were asked for, again and again.
func TestPlacement(t *testing.T) {
	if !nettest.Inside(t) {
		return
	}
	if err := netconf.Up(t.Context(), "lo"); err != nil {
		t.Fatal(err)
	}
	ctx, _, g, served := pair(t)
	ports := []uint16{20001, 20002, 20005}
	for range 3 {
		for _, run := range []func(context.Context, StreamOptions) (StreamResult, error){g.StreamUp, g.StreamDown} {
			r, err := run(ctx, StreamOptions{BytesPerFlow: 1000, Check: wire.CheckXor, Placement: Placement{Flows: 3, SourcePorts: ports}})
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range r.Flows {
				if f.LocalPort != ports[i] {
					t.Errorf("flow %d has port %d, want %d", i, f.LocalPort, ports[i])
				}
			}
		}
		r, err := g.RoundTrips(ctx, RoundTripOptions{Count: 3, UDP: true, Timeout: patience, Placement: Placement{SourcePorts: []uint16{20009}}})
		if err != nil || r.Flows[0].LocalPort != 20009 {
			t.Errorf("%+v, %v", r, err)
		}
		// A port of the guest's that a translator would forward to.
		if _, err := g.StreamDown(ctx, StreamOptions{BytesPerFlow: 1000, Placement: Placement{Dial: "127.0.0.1:20010", GuestPort: 20010}}); err != nil {
			t.Error(err)
		}
	}
	_, err := g.StreamUp(ctx, StreamOptions{BytesPerFlow: 1, Placement: Placement{CPUs: []int{16000}}})
	if err == nil || !strings.Contains(err.Error(), "guest: stream: flow 0: ") || !strings.Contains(err.Error(), "CPU 16000") {
		t.Errorf("error %v", err)
	}
	ended(t, ctx, g, served)
}

// Tasks run beside each other, and one that is given up leaves the guest as it was.
func TestCancel(t *testing.T) {
	ctx, _, g, served := pair(t)
	for _, run := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := g.StreamDown(ctx, StreamOptions{BytesPerFlow: wire.MaxBytes})
			return err
		},
		func(ctx context.Context) error {
			_, err := g.StreamUp(ctx, StreamOptions{BytesPerFlow: wire.MaxBytes})
			return err
		},
		func(ctx context.Context) error {
			_, err := g.RoundTrips(ctx, RoundTripOptions{Count: wire.MaxRoundTrips})
			return err
		},
		func(ctx context.Context) error {
			_, err := g.RoundTrips(ctx, RoundTripOptions{Count: wire.MaxRoundTrips, UDP: true})
			return err
		},
		func(ctx context.Context) error {
			_, err := g.PacketsUp(ctx, PacketOptions{PerFlow: wire.MaxPackets, PerSecond: 1000})
			return err
		},
		func(ctx context.Context) error {
			_, err := g.PacketsDown(ctx, PacketOptions{PerFlow: wire.MaxPackets, PerSecond: 1000})
			return err
		},
	} {
		task, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- run(task) }()
		if _, err := g.Snapshot(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v", err)
		}
	}
	ended(t, ctx, g, served)
}

func TestClose(t *testing.T) {
	ctx, c, g, served := pair(t)
	done := make(chan error, 1)
	go func() {
		_, err := g.StreamDown(ctx, StreamOptions{BytesPerFlow: wire.MaxBytes})
		done <- err
	}()
	if _, err := g.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), ErrClosed.Error()) {
		t.Errorf("error %v", err)
	}
	if err := <-served; err == nil || !strings.HasPrefix(err.Error(), "traffic controller 127.0.0.1:") {
		t.Errorf("guest: %v", err)
	}
	if _, err := c.Accept(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := guest.Serve(ctx, c.Addr().String()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("guest: %v", err)
	}
}

func TestAcceptEndsWithItsContext(t *testing.T) {
	c, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := Listen(c.Addr().String()); err == nil || !strings.HasPrefix(err.Error(), "traffic controller: listen tcp4 ") {
		t.Errorf("error %v", err)
	}
}

// The guest's own view, and what can be changed of it.
func TestSnapshotAndConfigure(t *testing.T) {
	if !nettest.Inside(t) {
		return
	}
	pairOfCards := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "c0", NumTxQueues: 2, NumRxQueues: 2}, PeerName: "s0"}
	if err := errors.Join(netconf.Up(t.Context(), "lo"), netlink.LinkAdd(pairOfCards)); err != nil {
		t.Fatal(err)
	}
	ctx, _, g, served := pair(t)
	before, err := g.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if before.Interface != "lo" || g.Hello().Interface != "lo" || before.MTU < 1500 || len(before.Interrupts.Rows) == 0 || before.UptimeNs == 0 || before.Softirqs.Row("NET_RX") == nil {
		t.Errorf("snapshot %+v", before)
	}
	if _, err := g.StreamDown(ctx, StreamOptions{BytesPerFlow: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	after, err := g.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := after.Since(&before); d.Link.RxBytes < 1<<20 || d.UptimeNs <= 0 {
		t.Errorf("since then: %+v", d.Link)
	}
	s, err := g.Configure(ctx, wire.Configure{Interface: "c0", MTU: 1400, Features: map[string]bool{"tso": false, "gro": true}})
	if err != nil {
		t.Fatal(err)
	}
	if s.Interface != "c0" || s.MTU != 1400 || s.Driver != "veth" || s.Feature("tx-tcp-segmentation") || !s.Feature("rx-gro") || s.Channels == nil || s.RSS != nil || len(s.Refused) == 0 {
		t.Errorf("snapshot %+v", s)
	}
	for want, c := range map[string]wire.Configure{
		"guest: configure: c0: set MTU 5: ":                     {Interface: "c0", MTU: 5},
		"guest: configure: c0: set channels: ":                  {Interface: "c0", Combined: 7},
		"guest: configure: c0: set coalescing: ":                {Interface: "c0", Coalesce: &netconf.Coalesce{RxUsecs: 3}},
		"guest: configure: c0: coalescing of queue 1: ":         {Interface: "c0", PerQueue: map[string]netconf.Coalesce{"1": {}}},
		`guest: configure: queue "x" is not a number`:           {Interface: "c0", PerQueue: map[string]netconf.Coalesce{"x": {}}},
		"guest: configure: c0: set receive-side scaling: ":      {Interface: "c0", RSS: &netconf.RSS{}},
		`guest: configure: c0: flow type "ipx"`:                 {Interface: "c0", HashFields: map[string]string{"ipx": "s"}},
		`guest: configure: interrupt "../../x" is not a number`: {Interface: "c0", IRQAffinity: map[string]string{"../../x": "1"}},
		`guest: configure: interrupt 99999 to CPUs "0": `:       {Interface: "c0", IRQAffinity: map[string]string{"99999": "0"}},
		`guest: configure: c0: receive packet steering: "tx-0"`: {Interface: "c0", RPS: map[string]string{"tx-0": "1"}},
		`guest: configure: CPU -1 does not exist`:               {Interface: "c0", CPUs: []int{-1}},
		`guest: configure: network interface "none0"`:           {Interface: "none0", MTU: 1500},
	} {
		if _, err := g.Configure(ctx, c); err == nil || !strings.HasPrefix(strings.Replace(err.Error(), "set coalescing of", "coalescing of", 1), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	names, err := netserve.ServeDNS("127.0.0.1:0", map[string]netip.Addr{"a.example": netip.MustParseAddr("10.1.2.3")})
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	if r, err := g.Resolve(ctx, "a.example", names.Addr().String()); err != nil || len(r.Addresses) != 1 || r.Addresses[0] != "10.1.2.3" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := g.Resolve(ctx, "b.example", names.Addr().String()); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("error %v", err)
	}
	p, err := g.Ping(ctx, "127.0.0.1", 3, 100, patience)
	if err != nil || p.Sent != 3 || p.Received != 3 || len(p.RTTsNs) != 3 || p.Address != "127.0.0.1" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := g.Fetch(ctx, "https://127.0.0.1/"); err == nil || err.Error() != `guest: "https://127.0.0.1/" is not http://HOST[:PORT]/PATH` {
		t.Errorf("error %v", err)
	}
	ended(t, ctx, g, served)
}
