//go:build lab

package tests

import (
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"doorbell/internal/netconf/nettest"
)

// link is what a guest's network card is connected to, with this process at the other end.
type link struct {
	net    string       // what --net takes
	listen string       // the address at which this process hears guests
	host   netip.Addr   // the same as a guest sees it, which is also its gateway
	guest  netip.Prefix // what DHCP gives it
	tap    *nettest.Tap // nil for user-mode networking
	as     *syscall.SysProcAttr
}

// nobody has no privilege.
var nobody = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}

// userLink is user-mode networking, whose gateway leads to the host's loopback.
func userLink() link {
	return link{net: "user", listen: "127.0.0.1", host: netip.MustParseAddr("10.0.2.2"), guest: netip.MustParsePrefix("10.0.2.15/24")}
}

// tapAddress is the host's on the taps of these tests.
var tapAddress = netip.MustParsePrefix("192.168.77.1/24")

// tapLink makes a tap with a DHCP and a DNS server, for as long as the test runs.
func tapLink(t testing.TB) link {
	t.Helper()
	tap, err := nettest.NewTap("tap0", tapAddress, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tap.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := tap.Serve(); err != nil {
		t.Fatal(err)
	}
	return link{
		net: "tap=" + tap.Name(), listen: tap.Host().String(), host: tap.Host(),
		guest: netip.PrefixFrom(tap.Guest(), tapAddress.Bits()), tap: tap,
	}
}

// eachLink runs a test of a guest on every backend that reaches the host.
func eachLink(t *testing.T, run func(t testing.TB, l link)) {
	t.Run("tap", func(t *testing.T) { guestTest(t, func(t testing.TB) { run(t, tapLink(t)) }) })
	t.Run("user", func(t *testing.T) { guestTest(t, func(t testing.TB) { run(t, userLink()) }) })
}

// openTo lets everybody use KVM and taps, and write into a folder of a test's.
func openTo(t testing.TB, dir string) {
	t.Helper()
	for path, mode := range map[string]os.FileMode{"/dev/kvm": 0o666, "/dev/net/tun": 0o666, filepath.Dir(dir): 0o755, dir: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}
