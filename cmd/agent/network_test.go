package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorbell/internal/guestreport"
	"doorbell/internal/netconf"
	"doorbell/internal/netconf/netserve"
	"doorbell/internal/netconf/nettest"
	"doorbell/internal/traffic"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
)

// patience is for what happens at once on a machine that has nothing else to do.
const patience = 60 * time.Second

// The card gets what the server gives, or what the command line says.
func TestConfigureCard(t *testing.T) {
	if !nettest.Inside(t) {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	server := netip.MustParsePrefix("10.9.0.1/24")
	wire := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "c0"}, PeerName: "s0"}
	if err := netlink.LinkAdd(wire); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netconf.SetUp("c0"), netconf.Up(ctx, "s0"), netconf.Apply("s0", netconf.Config{Address: server})); err != nil {
		t.Fatal(err)
	}
	d, err := netserve.ServeDHCP(netserve.DHCPConfig{Interface: "s0", Server: server, First: netip.MustParseAddr("10.9.0.15"), Count: 1,
		Gateway: server.Addr(), DNS: []netip.Addr{server.Addr()}, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	resolv := filepath.Join(t.TempDir(), "etc", "resolv.conf")
	got := &guestreport.Network{Interface: "c0", MTU: 1500}
	if err := configureCard(ctx, netAuto, resolv, got); err != nil {
		t.Fatal(err)
	}
	want := &guestreport.Network{Interface: "c0", Driver: "veth", MTU: 1400, Source: "dhcp", Address: "10.9.0.15/24", Gateway: "10.9.0.1", DNS: []string{"10.9.0.1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text, _ := os.ReadFile(resolv); string(text) != "nameserver 10.9.0.1\n" {
		t.Errorf("resolv.conf is %q", text)
	}
	got = &guestreport.Network{Interface: "c0", MTU: 1400}
	if err := configureCard(ctx, "static=10.9.0.20/24", resolv, got); err != nil {
		t.Fatal(err)
	}
	if line := networkLine(got); line != "network: c0 10.9.0.20/24\n" {
		t.Errorf("got %q", line)
	}
	// Without a server it ends with its time, and says what it has found.
	d.Close()
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	got = &guestreport.Network{Interface: "c0"}
	if err := configureCard(short, netDHCP, resolv, got); !errors.Is(err, context.DeadlineExceeded) || got.Driver != "veth" || got.Address != "" {
		t.Errorf("%+v, %v", got, err)
	}
	// This namespace has no card of a driver's.
	if card, err := findCard(t.TempDir(), false); err != nil || card.Name != "" {
		t.Errorf("card %+v, %v", card, err)
	}
	if _, err := findCard(t.TempDir(), true); err == nil || err.Error() != "this machine has no card that a driver drives" {
		t.Errorf("error %v", err)
	}
}

func TestCardExpected(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  bool
	}{
		{"nothing", nil, false},
		{"a disk", map[string]string{"pci/devices/0000:00:01.0/class": "0x010000\n", "pci/devices/0000:00:01.0/driver/x": ""}, false},
		{"a card without a driver", map[string]string{"pci/devices/0000:00:01.0/class": "0x020000\n"}, false},
		{"a card with a driver", map[string]string{"pci/devices/0000:00:01.0/class": "0x020000\n", "pci/devices/0000:00:01.0/driver/x": ""}, true},
		{"virtio without PCI", map[string]string{"virtio/devices/virtio0/modalias": "virtio:d00000001v0000554D\n", "virtio/devices/virtio0/driver/x": ""}, true},
		{"virtio that is no card", map[string]string{"virtio/devices/virtio0/modalias": "virtio:d00000003v0000554D\n", "virtio/devices/virtio0/driver/x": ""}, false},
	} {
		root := t.TempDir()
		for name, text := range tt.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := cardExpected(root); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

func TestNetworkLine(t *testing.T) {
	for want, n := range map[string]guestreport.Network{
		"network: eth0 10.0.2.15/24 by DHCP, gateway 10.0.2.2, 4 of 4 queue pairs\n": {Interface: "eth0", Address: "10.0.2.15/24", Source: "dhcp", Gateway: "10.0.2.2", QueuePairs: 4, QueuePairsMax: 4},
		"network: eth0 10.0.2.15/24, 1 queue pair\n":                                 {Interface: "eth0", Address: "10.0.2.15/24", Source: "static", QueuePairs: 1, QueuePairsMax: 1},
	} {
		if got := networkLine(&n); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The network's workloads report what they found, and fail in one line.
func TestNetworkWorkloads(t *testing.T) {
	if !nettest.Inside(t) {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := netconf.Up(ctx, "lo"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
	defer server.Close()
	controller, err := traffic.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer controller.Close()
	served := make(chan error, 1)
	go func() {
		g, err := controller.Accept(ctx)
		if err == nil {
			_, err = g.StreamUp(ctx, traffic.StreamOptions{BytesPerFlow: 1 << 20})
		}
		if err == nil {
			err = g.End(ctx)
		}
		served <- err
	}()
	measure := func(spec string) guestreport.WorkloadResult {
		a := &agent{options: options{workload: spec}}
		report, err := a.measure()
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		return report.Workload
	}
	ignore := cmpopts.IgnoreFields(guestreport.FetchResult{}, "DurationNs")
	want := &guestreport.FetchResult{URL: server.URL + "/", Status: 200, Bytes: 5, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}
	if w := measure("fetch=" + server.URL + "/"); w.Error != "" || !cmp.Equal(want, w.Fetch, ignore) {
		t.Errorf("workload %+v", w)
	}
	if w := measure("ping=127.0.0.1,2"); w.Error != "" || w.Ping == nil || w.Ping.Sent != 2 {
		t.Errorf("workload %+v", w)
	}
	if w := measure("traffic=" + controller.Addr().String()); w.Error != "" || w.DurationNs <= 0 {
		t.Errorf("workload %+v", w)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	controller.Close()
	for _, spec := range []string{"fetch=http://10.255.255.1/", "ping=10.255.255.1,1", "traffic=" + controller.Addr().String()} {
		if w := measure(spec); w.Error == "" || strings.Contains(w.Error, "\n") {
			t.Errorf("workload %+v", w)
		}
	}
}

func TestLines(t *testing.T) {
	if got, want := pingLine("a.example", &guestreport.PingResult{Address: "10.1.2.3", Sent: 3, Received: 2, RTTsNs: []int64{2500000, 1000000}}),
		"ping: a.example (10.1.2.3): 2 of 3 answered, least 1.000 ms, median 2.500 ms, most 2.500 ms\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := pingLine("a", &guestreport.PingResult{Address: "10.1.2.3", Sent: 1}), "ping: a (10.1.2.3): 0 of 1 answered\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := fetchLine(&guestreport.FetchResult{URL: "http://a/", Bytes: 5, SHA256: "2c", DurationNs: 520e6}), "fetch: http://a/: 5 bytes in 0.52 s, sha256 2c\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
