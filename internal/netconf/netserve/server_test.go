package netserve

import (
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/net/dns/dnsmessage"
)

func testServer() *DHCPServer {
	return &DHCPServer{config: DHCPConfig{Server: netip.MustParsePrefix("10.9.0.1/24"), First: netip.MustParseAddr("10.9.0.15"), Count: 2}}
}

func ask(t testing.TB, kind dhcpv4.MessageType, mac byte, more ...dhcpv4.Modifier) []byte {
	t.Helper()
	m, err := dhcpv4.New(append(more, dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, mac}))...)
	if err != nil {
		t.Fatal(err)
	}
	return m.ToBytes()
}

func TestDHCPAnswers(t *testing.T) {
	s := testServer()
	requested := func(last byte) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 9, 0, last)))
	}
	for _, tt := range []struct {
		query []byte
		kind  dhcpv4.MessageType // none for no answer
		ip    string
	}{
		{ask(t, dhcpv4.MessageTypeDiscover, 1), dhcpv4.MessageTypeOffer, "10.9.0.15"},
		{ask(t, dhcpv4.MessageTypeRequest, 1, requested(15)), dhcpv4.MessageTypeAck, "10.9.0.15"},
		{ask(t, dhcpv4.MessageTypeRequest, 1, requested(99)), dhcpv4.MessageTypeNak, "0.0.0.0"},
		{ask(t, dhcpv4.MessageTypeDiscover, 2), dhcpv4.MessageTypeOffer, "10.9.0.16"},
		{ask(t, dhcpv4.MessageTypeDiscover, 3), dhcpv4.MessageTypeNone, ""},
		{ask(t, dhcpv4.MessageTypeRelease, 1), dhcpv4.MessageTypeNone, ""},
		{ask(t, dhcpv4.MessageTypeRequest, 1, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 9, 0, 2)))), dhcpv4.MessageTypeNone, ""},
	} {
		m := s.answer(tt.query)
		if m == nil {
			if tt.kind != dhcpv4.MessageTypeNone {
				t.Errorf("no answer, want %v", tt.kind)
			}
			continue
		}
		if m.MessageType() != tt.kind || m.YourIPAddr.String() != tt.ip {
			t.Errorf("%v with %v, want %v with %s", m.MessageType(), m.YourIPAddr, tt.kind, tt.ip)
		}
	}
}

func FuzzDHCPQuery(f *testing.F) {
	f.Add(ask(f, dhcpv4.MessageTypeDiscover, 1))
	f.Add(ask(f, dhcpv4.MessageTypeRequest, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := testServer()
		if reply := s.answer(b); reply != nil {
			if _, err := dhcpv4.FromBytes(reply.ToBytes()); err != nil {
				t.Errorf("answer to %x: %v", b, err)
			}
		}
	})
}

func FuzzDNSQuery(f *testing.F) {
	query := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, err := query.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	s := &DNSServer{names: map[string]netip.Addr{"a.test.": netip.MustParseAddr("10.9.0.7")}}
	if s.answer(b) == nil {
		f.Fatal("the first query has no answer")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if reply := s.answer(b); reply != nil {
			var m dnsmessage.Message
			if err := m.Unpack(reply); err != nil || !m.Response {
				t.Errorf("answer to %x: %+v, %v", b, m.Header, err)
			}
		}
	})
}
