package netconf

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var testMAC = net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}

// reply is an answer with what a test changes.
func reply(change ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	m := message(testMAC, dhcpv4.MessageTypeAck)
	m.OpCode = dhcpv4.OpcodeBootReply
	for _, c := range append([]dhcpv4.Modifier{
		dhcpv4.WithYourIP(net.IPv4(10, 0, 2, 15)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IPv4(10, 0, 2, 2)),
	}, change...) {
		c(m)
	}
	return m
}

func option(code uint8, value ...byte) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.Option{Code: dhcpv4.GenericOptionCode(code), Value: dhcpv4.OptionGeneric{Data: value}})
}

func TestParseLease(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, tt := range []struct {
		name   string
		change dhcpv4.Modifier
		want   func(Lease) bool
		err    string
	}{
		{"plain", option(0), func(l Lease) bool {
			return l.Address == prefix("10.0.2.15/24") && l.Gateway.String() == "10.0.2.2" && l.DNS == nil && l.MTU == 0
		}, ""},
		{"no mask: the class's", func(m *dhcpv4.DHCPv4) { m.DeleteOption(dhcpv4.OptionSubnetMask) }, func(l Lease) bool { return l.Address == prefix("10.0.2.15/8") }, ""},
		{"no router", func(m *dhcpv4.DHCPv4) { m.DeleteOption(dhcpv4.OptionRouter) }, func(l Lease) bool { return !l.Gateway.IsValid() }, ""},
		{"four name servers", option(6, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4), func(l Lease) bool { return len(l.DNS) == 3 && l.DNS[1].String() == "2.2.2.2" }, ""},
		{"domain", option(15, []byte("a-b.example\x00")...), func(l Lease) bool { return l.Search == "a-b.example" }, ""},
		{"domain of two lines", option(15, []byte("a\nnameserver 6.6.6.6")...), func(l Lease) bool { return l.Search == "" }, ""},
		{"MTU", option(26, 0x23, 0x28), func(l Lease) bool { return l.MTU == 9000 }, ""},
		{"MTU of 3 bytes", option(26, 1, 2, 3), func(l Lease) bool { return l.MTU == 0 }, ""},
		{"MTU too small", option(26, 0, 20), nil, "MTU 20 is not between 68 and 65535"},
		{"mask with a hole", option(1, 255, 0, 255, 0), nil, "subnet mask 255.0.255.0 has a hole"},
		{"mask of 0", option(1, 0, 0, 0, 0), nil, "10.0.2.15/0 has no network"},
		{"short mask", option(1, 255), nil, "subnet mask of 1 bytes"},
		{"no address", dhcpv4.WithYourIP(net.IPv4zero), nil, "the answer has no address"},
		{"broadcast address", dhcpv4.WithYourIP(net.IPv4bcast), nil, "255.255.255.255 is no address for an interface"},
		{"refusal", dhcpv4.WithMessageType(dhcpv4.MessageTypeNak), nil, "the server refused"},
		{"offer", dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), nil, "the answer is a OFFER"},
	} {
		lease, err := parseLease(reply(tt.change))
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.err)
			}
		case err != nil || !tt.want(lease):
			t.Errorf("%s: %+v, %v", tt.name, lease, err)
		}
	}
}

// What the client sends is what RFC 2131 asks for.
func TestMessage(t *testing.T) {
	m, err := dhcpv4.FromBytes(message(testMAC, dhcpv4.MessageTypeDiscover).ToBytes())
	if err != nil {
		t.Fatal(err)
	}
	if m.OpCode != dhcpv4.OpcodeBootRequest || !m.IsBroadcast() || m.ClientHWAddr.String() != testMAC.String() || m.MessageType() != dhcpv4.MessageTypeDiscover ||
		!m.IsOptionRequested(dhcpv4.OptionRouter) || !m.IsOptionRequested(dhcpv4.OptionDomainNameServer) {
		t.Errorf("message %v", m.Summary())
	}
}

func FuzzParseLease(f *testing.F) {
	f.Add(reply().ToBytes())
	f.Add(reply(option(26, 5, 0xdc), option(15, 'x'), option(6, 1, 2, 3, 4)).ToBytes())
	f.Add(reply(dhcpv4.WithMessageType(dhcpv4.MessageTypeNak), option(56, 'n', '\n', 'o')).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		lease, err := parseLease(m)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("error has more than one line: %q", err)
			}
			return
		}
		if err := lease.check(); err != nil || len(lease.DNS) > maxDNS || lease.Search != "" && !isDomain(lease.Search) {
			t.Errorf("lease %+v, %v", lease, err)
		}
	})
}
