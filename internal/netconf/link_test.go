package netconf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doorbell/internal/netconf/netserve"
	"doorbell/internal/netconf/nettest"

	"github.com/vishvananda/netlink"
)

// wire makes a cable between two interfaces, with the server's end up.
func wire(t *testing.T, client, server string, address netip.Prefix) {
	t.Helper()
	const queues = 4
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: client, NumTxQueues: queues, NumRxQueues: queues}, PeerName: server,
		PeerNumTxQueues: queues, PeerNumRxQueues: queues}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := errors.Join(SetUp(client), Up(ctx, "lo"), Up(ctx, server), Apply(server, Config{Address: address})); err != nil {
		t.Fatal(err)
	}
}

// patience is for what happens at once on a machine that has nothing else to do.
const patience = 30 * time.Second

// A link is found, gets its address from a server, and names resolve: what the guest does.
func TestDHCPOnAWire(t *testing.T) {
	if !nettest.Inside(t) {
		return
	}
	server := netip.MustParsePrefix("10.9.0.1/24")
	wire(t, "c0", "s0", server)
	d, err := netserve.ServeDHCP(netserve.DHCPConfig{Interface: "s0", Server: server, First: netip.MustParseAddr("10.9.0.15"), Count: 1,
		Gateway: server.Addr(), DNS: []netip.Addr{server.Addr()}, Domain: "test.example", MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	names, err := netserve.ServeDNS("10.9.0.1:53", map[string]netip.Addr{"host.test.example": netip.MustParseAddr("10.9.0.7")})
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	link, err := WaitLink(ctx, func(l Link) bool { return l.Name == "c0" })
	if err != nil {
		t.Fatal(err)
	}
	if link.Kind != "veth" || !link.Ethernet || link.Loopback || link.Card() || len(link.MAC) != 6 {
		t.Errorf("link %+v", link)
	}
	if err := Up(ctx, "c0"); err != nil {
		t.Fatal(err)
	}
	lease, err := DHCP(ctx, "c0")
	if err != nil {
		t.Fatal(err)
	}
	if lease.Address != netip.MustParsePrefix("10.9.0.15/24") || lease.Gateway != server.Addr() || !slices.Equal(lease.DNS, []netip.Addr{server.Addr()}) ||
		lease.Search != "test.example" || lease.MTU != 1400 || lease.Server != server.Addr() || lease.Duration != time.Hour {
		t.Errorf("lease %+v", lease)
	}
	if d.Clients() != 1 {
		t.Errorf("%d clients", d.Clients())
	}
	for range 2 { // the same again changes nothing
		if err := Apply("c0", lease.Config); err != nil {
			t.Fatal(err)
		}
	}
	if link, err = LinkByName("c0"); err != nil || link.MTU != 1400 || !link.Running {
		t.Errorf("link %+v, %v", link, err)
	}
	c0, err := netlink.LinkByName("c0")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := netlink.AddrList(c0, netlink.FAMILY_V4); err != nil || len(a) != 1 || a[0].IPNet.String() != "10.9.0.15/24" {
		t.Errorf("addresses %v, %v", a, err)
	}
	if r, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST); err != nil || len(r) != 1 || !r[0].Gw.Equal(server.Addr().AsSlice()) {
		t.Errorf("default routes %v, %v", r, err)
	}

	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, names.Addr().String())
	}}
	if got, err := resolver.LookupNetIP(ctx, "ip4", "host.test.example."); err != nil || len(got) != 1 || got[0].Unmap() != netip.MustParseAddr("10.9.0.7") {
		t.Errorf("resolved %v, %v", got, err)
	}
	var notFound *net.DNSError
	if _, err := resolver.LookupNetIP(ctx, "ip4", "other.test.example."); !errors.As(err, &notFound) || !notFound.IsNotFound {
		t.Errorf("a name that does not exist: %v", err)
	}
	if names.Queries() == 0 {
		t.Error("the server counted no query")
	}
}

// Without a server, DHCP ends with its context, in one line.
func TestDHCPWithoutServer(t *testing.T) {
	if !nettest.Inside(t) {
		return
	}
	wire(t, "c0", "s0", netip.MustParsePrefix("10.9.0.1/24"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := DHCP(ctx, "c0")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "c0: DHCP: no offer: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if _, err := WaitLink(ctx, Link.Card); !errors.Is(err, ErrNoLink) {
		t.Errorf("error %v", err)
	}
	if _, err := DHCP(ctx, "none0"); err == nil || !strings.Contains(err.Error(), `network interface "none0"`) {
		t.Errorf("error %v", err)
	}
}

// The kernel's own answers for a card made of software.
func TestSettingsOfAWire(t *testing.T) {
	if !nettest.Inside(t) {
		return
	}
	wire(t, "c0", "s0", netip.MustParsePrefix("10.9.0.1/24"))
	n, err := OpenNIC("c0")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if driver, err := n.Driver(); err != nil || driver != "veth" {
		t.Errorf("driver %q, %v", driver, err)
	}
	c, err := n.Channels()
	if err != nil || c.MaxRx != 4 || c.MaxTx != 4 || c.MaxCombined != 0 {
		t.Fatalf("channels %+v, %v", c, err)
	}
	c.Rx, c.Tx = 2, 3
	if err := n.SetChannels(c); err != nil {
		t.Fatal(err)
	}
	if got, err := n.Channels(); err != nil || got != c {
		t.Errorf("channels %+v, %v, want %+v", got, err, c)
	}
	if err := n.SetCombined(2); err == nil || !strings.HasPrefix(err.Error(), "c0: set channels: ") {
		t.Errorf("combined channels on a card without: %v", err)
	}
	stats, err := n.Stats()
	if err != nil || !slices.ContainsFunc(stats, func(s Stat) bool { return s.Name == "peer_ifindex" && s.Value != 0 }) {
		t.Errorf("statistics %v, %v", stats, err)
	}
	for _, on := range []bool{false, true} {
		if err := n.SetFeatures(map[string]bool{"tso": on, "rx-gro": on}); err != nil {
			t.Fatal(err)
		}
		features, err := n.Features()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"tx-tcp-segmentation", "tx-tcp6-segmentation", "rx-gro"} {
			i := slices.IndexFunc(features, func(f Feature) bool { return f.Name == name })
			if i < 0 || features[i].Active != on || features[i].Fixed {
				t.Errorf("%s: want %v in %+v", name, on, features)
			}
		}
	}
	if err := n.SetFeatures(map[string]bool{"tx-levitation": true}); err == nil || !strings.Contains(err.Error(), `feature "tx-levitation" is not known`) {
		t.Errorf("error %v", err)
	}
	if _, err := n.RSS(); err == nil || !strings.HasPrefix(err.Error(), "c0: receive-side scaling: ") {
		t.Errorf("RSS of a card without: %v", err)
	}
	if none, err := OpenNIC("none0"); err != nil {
		t.Error(err)
	} else {
		if _, err := none.Driver(); err == nil || err.Error() != "none0: driver: no such device" {
			t.Errorf("error %v", err)
		}
		none.Close()
	}
}

func TestParseStatic(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.2.15/24":                    "10.0.2.15/24 invalid IP []",
		"10.0.2.15/24,10.0.2.2":           "10.0.2.15/24 10.0.2.2 []",
		"10.0.2.15/24,10.0.2.2,10.0.2.3":  "10.0.2.15/24 10.0.2.2 [10.0.2.3]",
		"10.0.2.15/24,,10.0.2.3":          "10.0.2.15/24 invalid IP [10.0.2.3]",
		"10.0.2.15":                       `! "10.0.2.15" is not ADDRESS/LENGTH`,
		"10.0.2.15/33":                    `! "10.0.2.15/33" is not ADDRESS/LENGTH`,
		"fe80::1/64":                      "! no IPv4 address",
		"224.0.0.1/24":                    "! 224.0.0.1 is no address for an interface",
		"10.0.2.15/0":                     "! 10.0.2.15/0 has no network",
		"10.0.2.15/24,x":                  `! gateway "x" is not an address`,
		"10.0.2.15/24,10.0.2.15":          "! 10.0.2.15 is no gateway for 10.0.2.15/24",
		"10.0.2.15/24,10.0.2.2,x":         `! name server "x" is not an address`,
		"10.0.2.15/24,10.0.2.2,1.1.1.1,2": `! "10.0.2.15/24,10.0.2.2,1.1.1.1,2" has more than an address, a gateway and a name server`,
	} {
		c, err := ParseStatic(text)
		got := fmt.Sprint(c.Address, " ", c.Gateway, " ", c.DNS)
		if err != nil {
			got = "! " + err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func FuzzParseStatic(f *testing.F) {
	f.Add("10.0.2.15/24,10.0.2.2,10.0.2.3")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseStatic(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("error has more than one line: %q", err)
			}
			return
		}
		if !c.Address.Addr().Is4() || c.Address.Bits() == 0 {
			t.Errorf("%q: %+v", text, c)
		}
	})
}

func TestWriteResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	c := Config{DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3"), netip.MustParseAddr("1.1.1.1")}, Search: "test"}
	if err := WriteResolvConf(path, c); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "search test\nnameserver 10.0.2.3\nnameserver 1.1.1.1\n" {
		t.Errorf("got %q", got)
	}
}
